//! `report`: what authorities and analysts are given. Figures come from [`local`] as [`data::Data`], and go out in one
//! of four formats; what a file says does not depend on where its figures come from.

mod csv;
mod data;
mod fleet;
mod html;
mod json;
mod lang;
mod line;
mod local;
mod out;
mod parquet;
mod versions;

use self::data::{Data, Remark};
use self::lang::Texts;
use self::out::{Files, WriteError};
use super::Exit;
use super::args::{Format, ReportArgs};
use super::output::{self, Plain, Progress, complain, counted};
use crate::util::Digest;

/// Runs the verb.
pub(super) fn run(args: &ReportArgs) -> Exit {
    // Better now than after a minute of work.
    if args.out.is_dir() || args.out.file_name().is_none() {
        return complain(&format_args!("--out is the file to write; {} is a folder", args.out.display()));
    }
    let progress = Progress::show("reading statistics");
    let gathered = if args.from_clickhouse { fleet::gather(args) } else { local::gather(args) };
    drop(progress);
    match gathered {
        Ok(data) => give(args, &data),
        Err(exit) => exit,
    }
}

/// Writes a report, and says what it is.
fn give(args: &ReportArgs, data: &Data) -> Exit {
    let texts = lang::texts(args.lang);
    let progress = Progress::show("writing the report");
    let written = write(args, data, texts);
    drop(progress);
    let digest = match written {
        Ok(digest) => digest,
        Err(error) => return complain(&error),
    };
    for remark in lang::texts(super::args::Lang::En).remarks(data) {
        output::note(&remark);
    }
    let (rows, hits) = (counted(data.rows.len() as u64, "row"), counted(data.all.total(), "hit"));
    let out = args.out.display().to_string();
    let text = format!(
        "{}: {rows}, {hits}, {} to {}\nsha256 {digest}\n",
        Plain(&out),
        data.text(data.from),
        data.text(data.to)
    );
    let doubtful = data.remarks.contains(&Remark::AuditBroken) || data.remarks.contains(&Remark::Cut);
    output::print(&text, if doubtful { Exit::Look } else { Exit::Fine })
}

/// All files of a report.
fn write(args: &ReportArgs, data: &Data, texts: &Texts) -> Result<Digest, WriteError> {
    let mut files = Files::new(&args.out);
    files.write("", |to| match args.format {
        Format::Csv => csv::write(data, to),
        Format::Json => json::write(data, texts, to),
        Format::Html => html::write(data, texts, to),
        Format::Parquet => parquet::write(data, texts, to),
    })?;
    if matches!(args.format, Format::Csv | Format::Parquet) {
        files.write(".about.json", |to| json::write_about(data, texts, to))?;
    }
    files.keep()
}

/// The time zone of a report: its name, or its offset.
fn zone_name(data: &Data) -> String {
    let zone = data.zone();
    let offset = || zone.to_fixed_offset().map(|offset| offset.to_string()).unwrap_or_default();
    zone.iana_name().map_or_else(offset, ToOwned::to_owned)
}
