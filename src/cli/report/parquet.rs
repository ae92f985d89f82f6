//! Rows as columns for analysis: Parquet, zstd, times as UTC timestamps in milliseconds.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;

use super::data::{Data, Row};
use super::json;
use super::lang::Texts;
use super::line::{Line, Lines};

/// The columns; they are those of CSV, but times are times and what is not known is null.
const SCHEMA: &str = "message report {
    required int64 from (timestamp(millis, true));
    required int64 to (timestamp(millis, true));
    required binary name (string);
    optional binary order (string);
    optional binary authority (string);
    optional binary legal_basis (string);
    required binary list (string);
    required binary other_lists (string);
    required binary outcome (string);
    required int64 hits;
    required int64 attempts;
    required int64 unexamined;
    optional binary clients (string);
    optional int64 clients_low;
    optional int64 clients_high;
    required int64 first_hit (timestamp(millis, true));
    required int64 last_hit (timestamp(millis, true));
    required binary precision (string);
}";
/// Rows of a group: what is held at a time.
const GROUP: usize = 1 << 16;
/// The head of the report stands in the file's metadata under this key.
const ABOUT: &str = "qalqan.about";

/// Writes all rows.
pub(super) fn write(data: &Data, texts: &Texts, to: &mut (dyn Write + Send)) -> io::Result<()> {
    file(data, texts, to).map_err(|error| match error {
        // What the system said, as it said it.
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        other => io::Error::other(other),
    })
}

/// The same, with errors as they come.
fn file(data: &Data, texts: &Texts, to: &mut (dyn Write + Send)) -> Result<()> {
    let about = json::about(data, texts).to_string();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by(data.about.software.clone())
        .set_key_value_metadata(Some(vec![KeyValue::new(ABOUT.to_owned(), about)]))
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
    let mut lines = Lines::of(data);
    for rows in data.rows.chunks(GROUP) {
        let lines: Vec<(Row, i64, Line<'_>)> =
            rows.iter().filter_map(|row| lines.line(row).map(|line| (*row, lines.end(row.period), line))).collect();
        let mut group = writer.next_row_group()?;
        columns(data, &lines, &mut group)?;
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

/// All columns of some rows, in the order of the schema.
fn columns<W: Write + Send>(
    data: &Data,
    lines: &[(Row, i64, Line<'_>)],
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<()> {
    let time = |minute: i64| minute.saturating_mul(60_000);
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut columns = Columns { group };
    columns.numbers(lines.iter().map(|(row, ..)| time(row.period.max(data.from))))?;
    columns.numbers(lines.iter().map(|(_, end, _)| time(*end)))?;
    columns.texts(lines.iter().map(|(.., line)| line.name.into()))?;
    columns.optional_texts(lines.iter().map(|(.., line)| line.order.map(Into::into)))?;
    columns.optional_texts(lines.iter().map(|(.., line)| line.authority.map(Into::into)))?;
    columns.optional_texts(lines.iter().map(|(.., line)| line.legal_basis.map(Into::into)))?;
    columns.texts(lines.iter().map(|(.., line)| line.list.into()))?;
    columns.texts(lines.iter().map(|(.., line)| line.other_lists.join("; ").as_str().into()))?;
    columns.texts(lines.iter().map(|(.., line)| line.outcome.into()))?;
    columns.numbers(lines.iter().map(|(.., line)| count(line.hits)))?;
    columns.numbers(lines.iter().map(|(.., line)| count(line.attempts)))?;
    columns.numbers(lines.iter().map(|(.., line)| count(line.unexamined)))?;
    columns.optional_texts(lines.iter().map(|(.., line)| line.clients.as_deref().map(Into::into)))?;
    columns.optional_numbers(lines.iter().map(|(.., line)| line.clients_low.map(count)))?;
    columns.optional_numbers(lines.iter().map(|(.., line)| line.clients_high.map(count)))?;
    columns.numbers(lines.iter().map(|(row, ..)| time(row.first.0)))?;
    columns.numbers(lines.iter().map(|(row, ..)| time(row.last.0)))?;
    columns.texts(lines.iter().map(|(.., line)| line.precision.into()))
}

/// Writes one column after the other.
struct Columns<'a, 'g, W: Write + Send> {
    group: &'a mut SerializedRowGroupWriter<'g, W>,
}

impl<W: Write + Send> Columns<'_, '_, W> {
    /// The next column: values, and for each row whether it has one.
    fn next<T: ::parquet::data_type::DataType>(&mut self, values: &[T::T], defined: Option<&[i16]>) -> Result<()> {
        let next = self.group.next_column()?;
        let mut column = next.ok_or_else(|| ParquetError::General("the schema has fewer columns".into()))?;
        column.typed::<T>().write_batch(values, defined, None)?;
        column.close()
    }

    fn numbers(&mut self, values: impl Iterator<Item = i64>) -> Result<()> {
        self.next::<Int64Type>(&values.collect::<Vec<_>>(), None)
    }

    fn texts(&mut self, values: impl Iterator<Item = ByteArray>) -> Result<()> {
        self.next::<ByteArrayType>(&values.collect::<Vec<_>>(), None)
    }

    fn optional_numbers(&mut self, values: impl Iterator<Item = Option<i64>>) -> Result<()> {
        let (values, defined) = split(values);
        self.next::<Int64Type>(&values, Some(&defined))
    }

    fn optional_texts(&mut self, values: impl Iterator<Item = Option<ByteArray>>) -> Result<()> {
        let (values, defined) = split(values);
        self.next::<ByteArrayType>(&values, Some(&defined))
    }
}

/// The values there are, and 1 for each that is there, 0 for each that is not.
fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
    let (mut there, mut defined) = (Vec::new(), Vec::new());
    for value in values {
        defined.push(i16::from(value.is_some()));
        there.extend(value);
    }
    (there, defined)
}
