//! The only place that writes to stdout and stderr: colours, closed pipes, progress.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use super::Exit;

/// Writes a result to stdout and gives `exit` back.
///
/// A reader that has seen enough (`| head`) is no error; a full disk is.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format_args!("cannot write to standard output: {error}"))
        }
        _ => exit,
    }
}

/// Writes a result that is too long to hold to stdout, as [`print`] does; `write` gives the exit status.
pub(super) fn stream(write: impl FnOnce(&mut dyn Write) -> io::Result<Exit>) -> Exit {
    let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let written = write(&mut stdout).and_then(|exit| stdout.flush().map(|()| exit));
    match written {
        Ok(exit) => exit,
        Err(error) => {
            // What is still held would be written, and fail, once more.
            let _ = stdout.into_parts();
            match error.kind() {
                io::ErrorKind::BrokenPipe => Exit::Fine,
                _ => complain(&format_args!("cannot write to standard output: {error}")),
            }
        }
    }
}

/// Says on stderr why something failed. There is nobody to tell if that fails too.
pub(super) fn complain(error: &dyn fmt::Display) -> Exit {
    let style = Style::of(&io::stderr());
    let _ = writeln!(io::stderr().lock(), "{} {error}", style.bad("error:"));
    Exit::Failed
}

/// Writes lines to stderr as they are.
pub(super) fn say(what: &dyn fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{what}");
}

/// Says something on stderr that does not keep it from going on.
pub(super) fn note(what: &dyn fmt::Display) {
    let style = Style::of(&io::stderr());
    let _ = writeln!(io::stderr().lock(), "{} {what}", style.look("note:"));
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    colours: bool,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set to something (no-color.org) or the terminal knows none.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colours: stream.is_terminal() && !no_color && !dumb }
    }

    /// For what `print` writes.
    pub(super) fn of_stdout() -> Self {
        Self::of(&io::stdout())
    }

    /// Whether there are any.
    pub(super) fn has_colours(self) -> bool {
        self.colours
    }

    /// Headings and what matters most.
    pub(super) fn strong<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled("1", text)
    }

    /// What somebody should look at.
    pub(super) fn look<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled("33", text)
    }

    /// What is wrong, or blocked.
    pub(super) fn bad<T: fmt::Display>(self, text: T) -> Styled<T> {
        self.styled("1;31", text)
    }

    /// With this SGR code, or plain.
    fn styled<T: fmt::Display>(self, code: &'static str, text: T) -> Styled<T> {
        Styled { code: self.colours.then_some(code), text }
    }
}

/// A text in a colour.
pub(super) struct Styled<T> {
    code: Option<&'static str>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "\x1b[{code}m{}\x1b[0m", self.text),
            None => self.text.fmt(f),
        }
    }
}

/// A text from a list or an order: control characters and the like cannot reach the terminal.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || turns {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

/// Columns, each as wide as its widest cell; a `true` in `right` aligns its column to the right.
pub(super) fn table(rows: &[Vec<String>], right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let right = right.get(column).copied().unwrap_or(false);
            let cell = if right { format!("{gap}{cell:>width$}") } else { format!("{gap}{cell:<width$}") };
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 file`, `2 files`, `3 entries`: for words whose plural is regular.
pub(super) fn counted(count: u64, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {one}s"),
    }
}

/// A line on a terminal that says what takes so long, and goes away again.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// Shows `what`, if stderr is a terminal.
    pub(super) fn show(what: &str) -> Self {
        let shown = io::stderr().is_terminal();
        if shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{what} …");
        }
        Self { shown }
    }

    /// Shows something else.
    pub(super) fn update(&mut self, what: &dyn fmt::Display) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{what}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_list_steers_the_terminal() {
        assert_eq!(Plain("a\x1b[31m\u{202e}b\u{85}ж").to_string(), "a\\u{1b}[31m\\u{202e}b\\u{85}ж");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |a: &str, b: &str, c: &str| vec![a.to_owned(), b.to_owned(), c.to_owned()];
        let rows = [row("ab", "1", "x"), row("ж", "100", "")];
        assert_eq!(table(&rows, &[false, true]), "ab    1  x\nж   100\n");
        assert_eq!(counted(1, "entry") + &counted(2, "entry") + &counted(0, "file"), "1 entry2 entries0 files");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Style { colours: false }.bad("x").to_string(), "x");
        assert_eq!(Style { colours: true }.bad("x").to_string(), "\x1b[1;31mx\x1b[0m");
    }
}
