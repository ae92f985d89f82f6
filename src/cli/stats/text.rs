//! `stats` as people read it.

use std::fmt::Write as _;

use super::{Bars, Line, Ranking, Told};
use crate::cli::output::{Plain, Style, counted, table};

/// Columns of what is no terminal.
const WIDE: usize = 100;
/// Nothing is narrower, whatever the terminal.
const NARROW: usize = 40;
/// Names below this are not cut.
const SHORT_KEY: usize = 20;
/// Heights of a bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How wide the terminal is; `None` if the output goes elsewhere, and then nothing is cut.
pub(super) fn width() -> Option<usize> {
    use std::io::IsTerminal;
    let stdout = std::io::stdout();
    let (width, _) = terminal_size::terminal_size_of(&stdout).filter(|_| stdout.is_terminal())?;
    Some(usize::from(width.0).max(NARROW))
}

/// All of it.
pub(super) fn show(told: &Told, style: Style, width: Option<usize>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} to {}, days of {}\n", told.from, told.to, Plain(&told.time_zone));
    text += &summary(told);
    text += &timeline(&told.timeline, style, width.unwrap_or(WIDE));
    for (what, ranking) in &told.top {
        text += &format!("\n{}", ranked(what, ranking, style, width));
    }
    if told.all.unexamined > 0 {
        let hits = counted(told.all.unexamined, "hit");
        text += &format!(
            "\n{}\n",
            style.look(format_args!("{hits} came too fast to be looked at: counted, but in no attempt and no client"))
        );
    }
    text
}

/// The figures of everything.
fn summary(told: &Told) -> String {
    let all = &told.all;
    let queries = told.queries.get("received").copied();
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |what: &str, number: String, note: String| rows.push([what.into(), number, note]);
    if let Some(queries) = queries {
        row("queries", grouped(queries), rate(told));
    }
    let share = |hits: u64| match queries {
        Some(queries) if queries > 0 => format!("{:.2} % of queries", hits as f64 * 100.0 / queries as f64),
        _ => String::new(),
    };
    row("blocked", grouped(all.blocked), share(all.blocked));
    if all.shadow > 0 {
        row("shadow", grouped(all.shadow), "would have been blocked by a list in shadow mode".into());
    }
    if all.excepted > 0 {
        row("excepted", grouped(all.excepted), "would have been blocked, but an allow rule covers the name".into());
    }
    if let Some(attempts) = all.attempts {
        row("attempts", grouped(attempts), "queries of one client for one name at a time count once".into());
    }
    if let Some(clients) = &all.clients {
        row("clients", clients.clone(), "distinct, about".into());
    }
    if let Some(names) = all.names {
        row("names", grouped(names), "with hits".into());
    }
    table(&rows.map_rows(), &[false, true])
}

/// Queries and hits a second, now.
fn rate(told: &Told) -> String {
    let Some(now) = &told.now else { return String::new() };
    let rate = |number: u64| format!("{:.1}", number as f64 / (60 * now.minutes) as f64);
    format!("now {} a second, {} of them hits", rate(now.queries), rate(now.hits))
}

/// Rows as a table takes them.
trait Rows {
    fn map_rows(self) -> Vec<Vec<String>>;
}

impl<const N: usize> Rows for Vec<[String; N]> {
    fn map_rows(self) -> Vec<Vec<String>> {
        self.into_iter().map(Vec::from).collect()
    }
}

/// One line of bars, as many as fit.
fn timeline(bars: &Bars, style: Style, width: usize) -> String {
    let (Some(first), Some(last)) = (bars.bars.first(), bars.bars.last()) else { return String::new() };
    let each = bars.bars.len().div_ceil(width).max(1);
    let heights: Vec<u64> = bars.bars.chunks(each).map(|chunk| chunk.iter().map(|bar| bar.hits).sum()).collect();
    let highest = heights.iter().copied().max().unwrap_or(0);
    if highest == 0 {
        return "\nno hits in that time\n".into();
    }
    let line: String = heights.iter().map(|&height| bar(height, highest)).collect();
    let step = counted(each as u64, bars.step);
    let (from, to) = (first.start.as_str(), last.start.as_str());
    format!("\n{}\n{from} … {to}; a bar is {step}, the highest {}\n", style.strong(line), counted_hits(highest))
}

/// A bar of a height; none at all only for nothing.
fn bar(height: u64, highest: u64) -> char {
    if height == 0 {
        return ' ';
    }
    let step = (u128::from(height) * BARS.len() as u128).div_ceil(u128::from(highest.max(1)));
    BARS[(step as usize).clamp(1, BARS.len()) - 1]
}

/// A ranking.
fn ranked(what: &str, ranking: &Ranking, style: Style, width: Option<usize>) -> String {
    let lines = &ranking.lines;
    if lines.is_empty() {
        return format!("{what}: none\n");
    }
    let any = |get: fn(&Line) -> bool| lines.iter().any(get);
    let shown: [(&str, bool, fn(&Line) -> String); 6] = [
        ("hits", true, |line| grouped(line.hits)),
        ("shadow", any(|line| line.shadow > 0), |line| grouped(line.shadow)),
        ("excepted", any(|line| line.excepted > 0), |line| grouped(line.excepted)),
        ("attempts", any(|line| line.attempts.is_some()), |line| line.attempts.map(grouped).unwrap_or_default()),
        ("clients", any(|line| line.clients.is_some()), |line| line.clients.clone().unwrap_or_default()),
        ("names", what != "names" && any(|line| line.names.is_some()), |line| {
            line.names.map(grouped).unwrap_or_default()
        }),
    ];
    let shown: Vec<_> = shown.into_iter().filter(|(_, wanted, _)| *wanted).collect();
    let key = |line: &Line| match line.authority.as_str() {
        "" if line.key.is_empty() => "(not known any more)".to_owned(),
        "" => Plain(&line.key).to_string(),
        authority => format!("{} of {}", Plain(&line.key), Plain(authority)),
    };
    let mut rows = vec![vec![what.to_owned()]];
    rows[0].extend(shown.iter().map(|(head, ..)| (*head).to_owned()));
    rows.extend(lines.iter().map(|line| {
        let mut row = vec![key(line)];
        row.extend(shown.iter().map(|(.., get)| get(line)));
        row
    }));
    fit(&mut rows, width);
    let mut right = vec![true; rows[0].len()];
    right[0] = false;
    let mut text = String::new();
    for (index, line) in table(&rows, &right).lines().enumerate() {
        text += &if index == 0 { format!("{}\n", style.strong(line)) } else { format!("{line}\n") };
    }
    let more = ranking.count - lines.len();
    if more > 0 {
        text += &format!("… and {more} more; `--by` with --limit shows them\n");
    }
    text
}

/// Cuts the first column so that lines fit.
fn fit(rows: &mut [Vec<String>], width: Option<usize>) {
    let Some(width) = width else { return };
    let column =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let others: usize = (1..columns).map(|at| column(at) + 2).sum();
    let room = width.saturating_sub(others).max(SHORT_KEY);
    for key in rows.iter_mut().filter_map(|row| row.first_mut()) {
        if key.chars().count() > room {
            *key = key.chars().take(room - 1).chain(['…']).collect();
        }
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 hit`, `1,234 hits`
fn counted_hits(hits: u64) -> String {
    format!("{} hit{}", grouped(hits), if hits == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::OneBar;
    use super::*;

    /// Bars of these heights.
    fn bars(heights: &[u64]) -> Bars {
        let bar = |(at, &hits): (usize, &u64)| OneBar { start: format!("t{at}"), hits, attempts: 0 };
        Bars { step: "hour", bars: heights.iter().enumerate().map(bar).collect() }
    }

    #[test]
    fn bars_are_as_high_as_their_share_and_never_vanish() {
        let shown = timeline(&bars(&[0, 1, 500, 1000]), Style::default(), 80);
        assert_eq!(shown, "\n ▁▄█\nt0 … t3; a bar is 1 hour, the highest 1,000 hits\n");
        let narrow = timeline(&bars(&[1, 1, 2, 2, 4]), Style::default(), 3);
        assert_eq!(narrow, "\n▄██\nt0 … t4; a bar is 2 hours, the highest 4 hits\n");
        assert_eq!(timeline(&bars(&[0, 0]), Style::default(), 80), "\nno hits in that time\n");
        assert_eq!(bar(u64::MAX, u64::MAX), '█');
    }

    #[test]
    fn long_names_are_cut_on_a_terminal_only() {
        let name = "a".repeat(100);
        let rows = || vec![vec!["names".to_owned(), "hits".to_owned()], vec![name.clone(), "12".to_owned()]];
        let mut cut = rows();
        fit(&mut cut, Some(60));
        assert_eq!(cut[1][0].chars().count(), 54);
        assert_eq!(table(&cut, &[false, true]).lines().map(|line| line.chars().count()).max(), Some(60));
        let mut whole = rows();
        fit(&mut whole, None);
        assert_eq!(whole, rows());
    }

    #[test]
    fn digits_are_grouped_by_three() {
        let shown = [0, 999, 1000, 1_234_567, u64::MAX].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]);
    }
}
