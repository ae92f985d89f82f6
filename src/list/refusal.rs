//! Why a file is refused whole, in words for the person who has to mend it.

use std::fmt;

use super::{FileReport, Format};

/// A file no rule of which is used. The last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing in it: more likely a write that failed than a wish to lift everything.
    Empty,
    /// Not text: an archive, an image, UTF-16 without a byte order mark.
    NotText(&'static str),
    /// A web page, most likely an error page saved in the list's place.
    Html,
    /// `auto` saw no format in it.
    NotRecognised,
    /// Too many entries were rejected, or all of them.
    TooManyRejected {
        /// What was found, with the first rejections.
        report: Box<FileReport>,
        /// The format the content looks like, if that is another one.
        looks_like: Option<Format>,
    },
    /// Not an order file: every problem found, in file order.
    BadOrder(Vec<OrderProblem>),
    /// A register whose header or quoting cannot be made sense of.
    BadCsv(String),
    /// A JSON register that is no JSON, or no register.
    BadJson(OrderProblem),
    /// More names than a table holds (4 GiB of them).
    TooManyRules,
}

/// One thing wrong with an order file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderProblem {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Refusal {
    /// What was found before the file was refused, where it got that far.
    pub fn report(&self) -> Option<&FileReport> {
        match self {
            Self::TooManyRejected { report, .. } => Some(report),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty; to empty a list leave a comment in it"),
            Self::NotText(what) => write!(f, "not text but {what}"),
            Self::Html => f.write_str("a web page, not a list; look at what the download really got"),
            Self::NotRecognised => {
                f.write_str("no list format recognised in its content; set `format` if you know which it is")
            }
            Self::TooManyRejected { report, looks_like } => rejected(report, *looks_like, f),
            Self::BadOrder(problems) => {
                f.write_str("not a valid order file")?;
                for (index, problem) in problems.iter().enumerate() {
                    let sep = if index == 0 { ": " } else { "; " };
                    write!(f, "{sep}{}:{}: {}", problem.line, problem.column, problem.message)?;
                }
                Ok(())
            }
            Self::BadCsv(why) => write!(f, "not a register that can be read: {why}"),
            Self::BadJson(OrderProblem { line, column, message }) => {
                write!(f, "not a JSON register that can be read: {line}:{column}: {message}")
            }
            Self::TooManyRules => f.write_str("more than 4 GiB of names; split the file"),
        }
    }
}

impl std::error::Error for Refusal {}

/// `12 of 40 lines were rejected, the first at 3:1 …`.
fn rejected(report: &FileReport, looks_like: Option<Format>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if report.entries == 0 {
        f.write_str("not one entry could be used")?;
    } else {
        write!(f, "{} entries rejected, {} used, in {} lines", report.rejected, report.entries, report.lines)?;
    }
    if let Some(format) = report.format {
        write!(f, " (read as `{format}`)")?;
    }
    if let Some(first) = report.rejections.first() {
        write!(f, "; the first at {}:{}: `{}`: {}", first.line, first.column, first.entry, first.reason)?;
    }
    match looks_like {
        Some(format) => write!(f, "; it looks like `format = \"{format}\"`"),
        None if report.entries > 0 => f.write_str("; raise `max_rejected` if that is meant to be"),
        None => Ok(()),
    }
}
