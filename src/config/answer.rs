//! `[answer]`, and a list's overrides of it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::reader::{Field, Limits, Table};
use super::values::{self, ValueError};
use crate::policy::{AnswerMode, AnswerOverride, AnswerSettings, Placeholder};

/// The answers there are.
const MODES: [(&str, AnswerMode); 6] = [
    ("sinkhole", AnswerMode::Sinkhole),
    ("nxdomain", AnswerMode::Nxdomain),
    ("nodata", AnswerMode::Nodata),
    ("refused", AnswerMode::Refused),
    ("drop", AnswerMode::Drop),
    ("cname", AnswerMode::Cname),
];

/// Addresses of one family: what fits an answer of 512 octets with room to spare.
const MAX_ADDRESSES: usize = 8;
/// `ttl`: long enough to spare the resolver, short enough that a lifted order is felt at once. A day at most.
const TTL: Limits<Duration> =
    Limits { default: Duration::from_secs(30), min: Duration::ZERO, max: Duration::from_secs(86_400) };
/// `ede`: 16 is Censored (RFC 8914 section 4.17); 0 stands for no option.
const EDE: Limits<usize> = Limits { default: 16, min: 0, max: u16::MAX as usize };
/// `text`
const TEXT: &str = "Blocked by order {order} of {authority}";
/// Bytes of `text` before the placeholders are filled in.
const MAX_TEXT: usize = 400;
/// `language`
const LANGUAGE: &str = "en";

/// A template that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateError {
    /// Not one of [`Placeholder`].
    Unknown(String),
    /// `{` without `}` or the other way round.
    Unbalanced,
    /// As for every other text.
    Text(ValueError),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choices = || Placeholder::ALL.map(|(word, _)| format!("{{{word}}}")).join(", ");
        match self {
            Self::Unknown(word) => write!(f, "{{{word}}} is not known; choices are {}", choices()),
            Self::Unbalanced => write!(f, "a brace stands alone; braces are only for {}", choices()),
            Self::Text(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TemplateError {}

/// The answer nothing was said about.
pub(super) fn defaults() -> AnswerSettings {
    AnswerSettings {
        mode: AnswerMode::Sinkhole,
        ipv4: vec![Ipv4Addr::UNSPECIFIED],
        ipv6: vec![Ipv6Addr::UNSPECIFIED],
        cname: None,
        ttl: TTL.default.as_secs() as u32,
        ede: Some(EDE.default as u16),
        text: TEXT.into(),
        language: LANGUAGE.into(),
    }
}

/// Reads a table of answer settings; what it does not say stays as in `base`.
pub(super) fn read(mut table: Table<'_>, base: &AnswerSettings) -> AnswerSettings {
    let answer = read_override(&mut table).over(base);
    if answer.mode == AnswerMode::Cname && answer.cname.is_none() {
        table.problem("mode \"cname\" needs a target; write it like cname = \"blocked.example\"");
    }
    table.finish();
    answer
}

/// Reads what a table of answer settings says.
pub(super) fn read_override(table: &mut Table<'_>) -> AnswerOverride {
    let v4 = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| ValueError::Address("192.0.2.1"));
    let v6 = |text: &str| text.parse::<Ipv6Addr>().map_err(|_| ValueError::Address("2001:db8::1"));
    let mode = table.field("mode").and_then(|field| field.choice(&MODES));
    let ipv4 = table.texts("ipv4", 0..=MAX_ADDRESSES, v4);
    let ipv6 = table.texts("ipv6", 0..=MAX_ADDRESSES, v6);
    let cname = table.text("cname", values::name);
    let ttl = table.field("ttl").map(|_| table.duration("ttl", TTL));
    if ttl.is_some_and(|ttl| ttl.subsec_millis() != 0) {
        table.problem("`ttl` must be whole seconds");
    }
    let ede = table.field("ede").map(|_| table.count("ede", EDE));
    let text = table.text("text", template);
    let language = table.text("language", values::language);
    AnswerOverride {
        mode,
        ipv4,
        ipv6,
        cname,
        ttl: ttl.map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)),
        ede: ede.map(|code| u16::try_from(code).ok().filter(|&code| code != 0)),
        text,
        language,
    }
}

/// Reads `answer = "nxdomain"`.
pub(super) fn mode(field: &Field<'_>) -> Option<AnswerMode> {
    field.choice(&MODES)
}

/// Reads a list's `answer = "nxdomain"`: only the mode is another one.
pub(super) fn read_mode(field: &Field<'_>, base: &AnswerSettings) -> AnswerSettings {
    let mode = mode(field).unwrap_or(base.mode);
    if mode == AnswerMode::Cname && base.cname.is_none() {
        field.wrong("needs a target; write it like answer = { mode = \"cname\", cname = \"blocked.example\" }");
    }
    AnswerSettings { mode, ..base.clone() }
}

/// A text for EXTRA-TEXT whose placeholders are all known; may be empty.
fn template(text: &str) -> Result<String, TemplateError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, tail) = after.split_once('}').ok_or(TemplateError::Unbalanced)?;
        if before.contains('}') || word.contains('{') {
            return Err(TemplateError::Unbalanced);
        }
        if Placeholder::ALL.iter().all(|&(known, _)| known != word) {
            return Err(TemplateError::Unknown(word.chars().take(40).collect()));
        }
        rest = tail;
    }
    if rest.contains('}') {
        return Err(TemplateError::Unbalanced);
    }
    values::line(text, MAX_TEXT).map_err(TemplateError::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_checked() {
        for text in ["", "Заблокировано", "{order}{authority} {list}, {legal_basis}: {reference}", TEXT] {
            assert_eq!(template(text), Ok(text.into()), "{text}");
        }
        assert_eq!(template("by {oder}"), Err(TemplateError::Unknown("oder".into())));
        for text in ["{order", "order}", "}{order}", "{{order}}", "{"] {
            assert_eq!(template(text), Err(TemplateError::Unbalanced), "{text}");
        }
        assert_eq!(template("a\nb"), Err(TemplateError::Text(ValueError::Control)));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(template(&long), Err(TemplateError::Text(ValueError::TooLong(MAX_TEXT))));
    }
}
