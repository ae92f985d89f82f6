//! A scanner just clever enough for paths: it knows comments, literals and `#[cfg(test)]`, not Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file of `src/` without its comments, its literals and its tests.
pub struct Source {
    /// As it stands in messages: `src/…`.
    pub path: String,
    /// The module, from the crate root: `["list", "orders"]`; empty for `lib.rs`.
    pub module: Vec<String>,
    /// Lines of the file, tests included.
    pub lines: usize,
    tokens: Vec<Token>,
    /// Children that are compiled for tests only.
    test_modules: Vec<String>,
}

/// An identifier or a single sign.
#[derive(Clone)]
struct Token {
    text: String,
    line: usize,
}

/// A path that starts at the crate root.
pub struct Import {
    /// The module of the crate root it goes to; `*` for all of them.
    pub module: String,
    /// Where it stands.
    pub line: usize,
}

/// All files of `src/` that are not tests.
pub fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "src", &mut all);
    let tests: BTreeSet<Vec<String>> = all
        .iter()
        .flat_map(|source| {
            source.test_modules.iter().map(|child| [&source.module[..], std::slice::from_ref(child)].concat())
        })
        .collect();
    // A child of a test module is a test too.
    all.retain(|source| (0..=source.module.len()).all(|len| !tests.contains(&source.module[..len])));
    all
}

/// Reads `folder`, called `shown`, and the folders in it.
fn collect(folder: &Path, shown: &str, all: &mut Vec<Source>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort_unstable();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let shown = format!("{shown}/{name}");
        if path.is_dir() {
            collect(&path, &shown, all);
        } else if name.ends_with(".rs") {
            all.push(Source::new(&shown, &fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}

impl Source {
    /// From the text of the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module = if inner == "lib" { Vec::new() } else { inner.split('/').map(str::to_owned).collect() };
        let (tokens, test_modules) = without_tests(tokens(text));
        Self { path: path.into(), module, lines: text.lines().count(), tokens, test_modules }
    }

    /// Whether the file is `module` (`a::b`) or below it.
    pub fn is_in(&self, module: &str) -> bool {
        let mut own = self.module.iter();
        module.split("::").all(|part| own.next().is_some_and(|own| own == part))
    }

    /// Lines on which one of `words` stands as an identifier.
    pub fn lines_with(&self, words: &[&str]) -> Vec<usize> {
        self.tokens.iter().filter(|token| words.contains(&token.text.as_str())).map(|token| token.line).collect()
    }

    /// Paths to modules of the crate root, by `crate::`, `qalqan::` or enough `super::`.
    pub fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let start = at;
            at += 1;
            let mut rest = match self.text(start) {
                "crate" | "qalqan" => start + 1,
                "super" if start < 3 || self.text(start - 3) != "super" => {
                    let mut ups = 1;
                    let mut next = start + 1;
                    while self.is_path(next) && self.text(next + 2) == "super" {
                        ups += 1;
                        next += 3;
                    }
                    if ups != self.module.len() {
                        continue;
                    }
                    next
                }
                _ => continue,
            };
            if !self.is_path(rest) {
                continue;
            }
            rest += 2;
            match self.text(rest) {
                "{" => self.group(rest, &mut found),
                name => found.push(Import { module: name.into(), line: self.tokens[rest].line }),
            }
        }
        found
    }

    /// The first parts of the paths in `{a::b, c::{d}}`, which starts at `open`.
    fn group(&self, open: usize, found: &mut Vec<Import>) {
        let mut depth = 0;
        let mut first = false;
        for token in &self.tokens[open..] {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    first = depth == 1;
                }
                "}" => depth -= 1,
                "," => first = depth == 1,
                name if first => {
                    found.push(Import { module: name.into(), line: token.line });
                    first = false;
                }
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Lines on which a path starts with the crate `name`, or `use name;` or `name as …` stands.
    pub fn uses_of_crate(&self, name: &str) -> Vec<usize> {
        if self.own_names().contains(name) {
            return Vec::new();
        }
        let starts_path = |at: usize| {
            let inside = at >= 2 && self.is_path(at - 2);
            let used = at > 0 && self.text(at - 1) == "use";
            self.text(at) == name && !inside && (self.is_path(at + 1) || used)
        };
        (0..self.tokens.len()).filter(|&at| starts_path(at)).map(|at| self.tokens[at].line).collect()
    }

    /// Names that mean something of ours in this file: `mod x`, and what is used from `crate`, `super`, `self`.
    fn own_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for at in 0..self.tokens.len() {
            match self.text(at) {
                "mod" => {
                    names.insert(self.text(at + 1));
                }
                "use" if ["crate", "super", "self"].contains(&self.text(at + 1)) => {
                    let used = self.tokens[at..].iter().map(|token| token.text.as_str());
                    names.extend(used.take_while(|&text| text != ";"));
                }
                _ => {}
            }
        }
        names
    }

    /// The text of token `at`, empty beyond the end.
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// `::` stands at `at`.
    fn is_path(&self, at: usize) -> bool {
        self.text(at) == ":" && self.text(at + 1) == ":"
    }
}

/// Identifiers and signs of `text`; comments and literals leave nothing.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        match get(at) {
            '/' if get(at + 1) == '/' => at = find(&chars, at, &['\n']),
            '/' if get(at + 1) == '*' => at = block_comment(&chars, at),
            '"' => at = string(&chars, at + 1, '"'),
            // A character, or a lifetime.
            '\'' if get(at + 1) == '\\' || get(at + 2) == '\'' => at = string(&chars, at + 1, '\''),
            c if c.is_alphanumeric() || c == '_' => {
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && get(at + hashes) == '"' {
                    let end: Vec<char> = ['"'].into_iter().chain(std::iter::repeat_n('#', hashes)).collect();
                    at = find(&chars, at + hashes + 1, &end) + end.len();
                } else {
                    tokens.push(Token { text: word, line });
                }
            }
            c => {
                at += 1;
                if !c.is_whitespace() {
                    tokens.push(Token { text: c.into(), line });
                }
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

/// Where `what` stands from `at` on, or the end.
fn find(chars: &[char], at: usize, what: &[char]) -> usize {
    (at..chars.len()).find(|&start| chars[start..].starts_with(what)).unwrap_or(chars.len())
}

/// Behind the block comment that starts at `at`; they nest.
fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        if chars[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if chars[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Behind the literal whose inside starts at `at` and that `end` ends.
fn string(chars: &[char], mut at: usize, end: char) -> usize {
    while at < chars.len() && chars[at] != end {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Takes out every item behind `#[cfg(test)]`; gives the names of the modules among them too.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let is_test = |at: usize| {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        attribute.iter().enumerate().all(|(n, sign)| tokens.get(at + n).is_some_and(|token| token.text == *sign))
    };
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !is_test(at) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += 7;
        if let Some(name) =
            tokens[at..].windows(3).find(|w| w[0].text == "mod" || w[0].text == "fn" || w[0].text == "use")
            && name[0].text == "mod"
            && name[2].text == ";"
        {
            modules.push(name[1].text.clone());
        }
        at = item_end(&tokens, at);
    }
    (kept, modules)
}

/// Behind the item at `at`: its closing brace, or a semicolon outside all brackets.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let mut braces = Vec::new();
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text.as_str() {
            "{" | "(" | "[" => {
                depth += 1;
                braces.push(token.text == "{");
            }
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                // `use a::{b};` goes on to its semicolon; a body is the end.
                let body = braces.pop() == Some(true) && tokens.get(at).is_none_or(|next| next.text != ";");
                if depth == 0 && body {
                    return at;
                }
            }
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}
