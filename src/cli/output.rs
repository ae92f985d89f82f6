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

/// Says on stderr why something failed. There is nobody to tell if that fails too.
pub(super) fn complain(error: &dyn fmt::Display) -> Exit {
    let style = Style::of(&io::stderr());
    let _ = writeln!(io::stderr().lock(), "{} {error}", style.bad("error:"));
    Exit::Failed
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
    fn colours_only_where_they_are_wanted() {
        assert_eq!(Style { colours: false }.bad("x").to_string(), "x");
        assert_eq!(Style { colours: true }.bad("x").to_string(), "\x1b[1;31mx\x1b[0m");
    }
}
