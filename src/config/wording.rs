//! How messages repeat what was found and guess what was meant.

use toml::de::DeValue;

use crate::util::nearest;

/// How many characters of a value a message repeats.
pub(super) const MAX_QUOTE: usize = 60;

/// A text in quotes, shortened, with control characters made visible.
pub(super) fn quote(text: &str) -> String {
    let short: String = text.chars().take(MAX_QUOTE).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", short.escape_debug().to_string().replace("\\'", "'"))
}

/// The value as it is repeated in a message.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => number.to_string().chars().take(MAX_QUOTE).collect(),
        DeValue::Float(number) => number.to_string().chars().take(MAX_QUOTE).collect(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "[…]".into(),
        DeValue::Table(_) => "{…}".into(),
    }
}

/// The type of a value in plain words.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `; perhaps "listen" is meant` if one of `words` is near enough.
pub(super) fn did_you_mean<'w>(found: &str, words: impl Iterator<Item = &'w str>) -> String {
    nearest(found, words).map(|word| format!("; perhaps \"{word}\" is meant")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_not() {
        let words = ["listen", "workers", "tcp"];
        assert_eq!(did_you_mean("lsiten", words.into_iter()), "; perhaps \"listen\" is meant");
        assert_eq!(did_you_mean("Listen", words.into_iter()), "; perhaps \"listen\" is meant");
        assert_eq!(did_you_mean("banana", words.into_iter()), "");
        assert_eq!(did_you_mean(&"x".repeat(100_000), words.into_iter()), "");
    }

    #[test]
    fn what_is_repeated_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\"b\""), "\"a\\u{1b}[31m\\\"b\\\"\"");
        assert_eq!(quote(&"я".repeat(100)).chars().count(), MAX_QUOTE + 3);
    }
}
