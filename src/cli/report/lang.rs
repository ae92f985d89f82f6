//! The words of reports. Every language has all of them: the compiler sees to it.

mod en;
mod kk;
mod ru;

use super::data::{Data, Remark};
use crate::cli::args::Lang;
use crate::event::Outcome;

/// The words of one language.
pub(super) struct Texts {
    /// As HTML's `lang` has it.
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    /// Head.
    pub(super) period: &'static str,
    pub(super) until: &'static str,
    pub(super) not_included: &'static str,
    pub(super) time_zone: &'static str,
    pub(super) generated_at: &'static str,
    pub(super) made_by: &'static str,
    pub(super) hosts: &'static str,
    pub(super) config: &'static str,
    pub(super) only_order: &'static str,
    pub(super) only_authority: &'static str,
    pub(super) only_list: &'static str,
    /// Sections.
    pub(super) summary: &'static str,
    pub(super) over_time: &'static str,
    pub(super) by_order: &'static str,
    pub(super) by_list: &'static str,
    pub(super) top_names: &'static str,
    pub(super) by_type: &'static str,
    pub(super) by_answer: &'static str,
    pub(super) rows: &'static str,
    pub(super) in_force: &'static str,
    pub(super) remarks_head: &'static str,
    pub(super) notes_head: &'static str,
    /// Columns.
    pub(super) name: &'static str,
    pub(super) names: &'static str,
    pub(super) order: &'static str,
    pub(super) authority: &'static str,
    pub(super) legal_basis: &'static str,
    pub(super) list: &'static str,
    pub(super) outcome: &'static str,
    pub(super) hits: &'static str,
    pub(super) attempts: &'static str,
    pub(super) clients: &'static str,
    pub(super) first_hit: &'static str,
    pub(super) last_hit: &'static str,
    pub(super) queries: &'static str,
    pub(super) version: &'static str,
    pub(super) entries: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) mode: &'static str,
    pub(super) kind: &'static str,
    pub(super) no_order: &'static str,
    pub(super) none: &'static str,
    pub(super) modes: [&'static str; 2],
    /// By [`Outcome::ALL`].
    pub(super) outcomes: [&'static str; Outcome::ALL.len()],
    /// Between digits, and before decimals.
    pub(super) group: char,
    pub(super) decimal: char,
    /// A bar of the timeline is an hour, a day; the highest has so many hits.
    pub(super) bar: [&'static str; 3],
    pub(super) highest: &'static str,
    /// What is left out of a table of so many rows.
    pub(super) more_rows: fn(u64) -> String,
    /// How each figure is counted: what it is about, and what is said of it. `{window}` and `{threshold}` are filled in.
    pub(super) notes: &'static [(&'static str, &'static str)],
    /// What a figure that is not the usual one means.
    pub(super) remark: fn(Remark) -> String,
    /// How to check that the file is as it was made.
    pub(super) check: &'static str,
}

/// The words of a language.
pub(super) fn texts(lang: Lang) -> &'static Texts {
    match lang {
        Lang::En => &en::TEXTS,
        Lang::Ru => &ru::TEXTS,
        Lang::Kk => &kk::TEXTS,
    }
}

impl Texts {
    /// The notes of a report.
    pub(super) fn notes(&self, data: &Data) -> Vec<(&'static str, String)> {
        let window = if data.about.window.is_empty() { "1m" } else { &data.about.window };
        let fill = |text: &str| text.replace("{window}", window).replace("{threshold}", &data.threshold.to_string());
        self.notes.iter().map(|(about, text)| (*about, fill(text))).collect()
    }

    /// What is special about a report.
    pub(super) fn remarks(&self, data: &Data) -> Vec<String> {
        data.remarks.iter().map(|&remark| (self.remark)(remark)).collect()
    }

    /// A number with its digits grouped.
    pub(super) fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(self.group);
            }
            text.push(digit);
        }
        text
    }

    /// Hundredths of a percent.
    pub(super) fn share(&self, part: u64, of: u64) -> String {
        let hundredths = u128::from(part) * 10_000 / u128::from(of.max(1));
        format!("{}{}{:02} %", hundredths / 100, self.decimal, hundredths % 100)
    }

    /// An outcome.
    pub(super) fn outcome(&self, outcome: Outcome) -> &'static str {
        self.outcomes[outcome as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_notes_the_same_figures_and_fills_in_the_same_numbers() {
        let all = [&en::TEXTS, &ru::TEXTS, &kk::TEXTS];
        for texts in all {
            assert_eq!(texts.notes.len(), en::TEXTS.notes.len(), "{}", texts.code);
            for mark in ["{window}", "{threshold}"] {
                let times =
                    |texts: &Texts| texts.notes.iter().map(|(_, text)| text.matches(mark).count()).collect::<Vec<_>>();
                assert_eq!(times(texts), times(&en::TEXTS), "{} {mark}", texts.code);
            }
        }
        let cyrillic = |text: &str| text.chars().any(|c| ('а'..='я').contains(&c));
        for texts in [&ru::TEXTS, &kk::TEXTS] {
            assert!(texts.notes.iter().all(|(about, text)| cyrillic(about) && cyrillic(text)), "{}", texts.code);
        }
        assert!(kk::TEXTS.notes.iter().all(|(_, text)| text.contains(['ә', 'і', 'ң', 'ғ', 'ү', 'ұ', 'қ', 'ө'])));
    }

    #[test]
    fn russian_counts_by_the_last_digit() {
        let rows = [0, 1, 2, 5, 11, 12, 21, 22, 25, 101, 111, 1000].map(ru::TEXTS.more_rows);
        let words: Vec<&str> = rows.iter().filter_map(|text| text.split(' ').nth(2)).collect();
        let expected =
            ["строк", "строка", "строки", "строк", "строк", "строк", "строка", "строки", "строк", "строка", "строк"];
        assert_eq!(words[..11], expected);
    }

    #[test]
    fn numbers_are_written_as_in_the_language() {
        let number = |texts: &Texts| (texts.number(1_234_567), texts.share(1, 3));
        assert_eq!(number(&en::TEXTS), ("1,234,567".into(), "33.33 %".into()));
        assert_eq!(number(&ru::TEXTS), ("1\u{a0}234\u{a0}567".into(), "33,33 %".into()));
        assert_eq!(en::TEXTS.share(0, 0), "0.00 %");
    }
}
