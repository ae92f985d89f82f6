//! The text of an extended error: cut into pieces once, put together a query without allocation.

use std::fmt;

use crate::rule::Order;

/// A field that is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The order's id.
    Order,
    /// Who issued it.
    Authority,
    /// The law.
    LegalBasis,
    /// The first reference.
    Reference,
    /// The list's name.
    List,
}

impl Placeholder {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("order", Self::Order),
        ("authority", Self::Authority),
        ("list", Self::List),
        ("legal_basis", Self::LegalBasis),
        ("reference", Self::Reference),
    ];
}

/// A `{word}` that is no placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPlaceholder(pub String);

impl fmt::Display for UnknownPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Placeholder::ALL.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        write!(f, "unknown placeholder `{{{}}}`; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownPlaceholder {}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
    needs_order: bool,
}

/// A piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Field(Placeholder),
}

impl Template {
    /// Cuts a text into pieces.
    ///
    /// # Errors
    /// [`UnknownPlaceholder`] for a `{word}` that is not in [`Placeholder::ALL`].
    pub fn new(text: &str) -> Result<Self, UnknownPlaceholder> {
        let mut unknown = None;
        let template = Self::cut(text, &mut unknown);
        unknown.map_or(Ok(template), |word| Err(UnknownPlaceholder(word)))
    }

    /// The same, but an unknown placeholder stays as it is written.
    pub fn lenient(text: &str) -> Self {
        Self::cut(text, &mut None)
    }

    /// Writes the text for a rule that rests on `order`. Without an order, a text that speaks of one is
    /// replaced by one that names the list.
    pub fn write(&self, order: Option<&Order>, list: &str, out: &mut dyn FnMut(&str)) {
        if order.is_none() && self.needs_order {
            out("Blocked by list ");
            out(list);
            return;
        }
        for piece in &self.pieces {
            match (piece, order) {
                (Piece::Text(text), _) => out(text),
                (Piece::Field(Placeholder::List), _) => out(list),
                (Piece::Field(field), Some(order)) => out(match field {
                    Placeholder::Order => &order.id,
                    Placeholder::Authority => &order.authority,
                    Placeholder::LegalBasis => &order.legal_basis,
                    Placeholder::Reference => order.reference.first().map_or("", String::as_str),
                    Placeholder::List => list,
                }),
                (Piece::Field(_), None) => {}
            }
        }
    }

    /// Cuts; the first unknown placeholder is noted and kept as text.
    fn cut(text: &str, unknown: &mut Option<String>) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let Some(close) = rest[open..].find('}').map(|at| open + at) else { break };
            let word = &rest[open + 1..close];
            let field = Placeholder::ALL.iter().find(|(name, _)| *name == word);
            let text_end = if field.is_some() { open } else { close + 1 };
            if text_end > 0 {
                pieces.push(Piece::Text(rest[..text_end].into()));
            }
            match field {
                Some((_, field)) => pieces.push(Piece::Field(*field)),
                None => {
                    unknown.get_or_insert_with(|| word.to_owned());
                }
            }
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        let needs_order = pieces.iter().any(|p| matches!(p, Piece::Field(field) if *field != Placeholder::List));
        Self { pieces: pieces.into(), needs_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, order: Option<&Order>) -> String {
        let mut out = String::new();
        Template::lenient(text).write(order, "exchanges", &mut |piece| out.push_str(piece));
        out
    }

    #[test]
    fn placeholders_are_filled_in() {
        let order = Order { id: "25/4".into(), authority: "Agency".into(), ..Order::default() };
        assert_eq!(fill("Blocked by order {order} of {authority}", Some(&order)), "Blocked by order 25/4 of Agency");
        assert_eq!(fill("{list}: {reference}{order}", Some(&order)), "exchanges: 25/4");
        assert_eq!(fill("by {order}", None), "Blocked by list exchanges");
        assert_eq!(fill("plain {list}", None), "plain exchanges");
        assert_eq!(fill("open { and {word} stay", None), "open { and {word} stay");
    }

    #[test]
    fn unknown_placeholders_are_named() {
        assert_eq!(Template::new("{order} {oder}"), Err(UnknownPlaceholder("oder".into())));
        assert!(Template::new("{order} of {authority}").is_ok());
    }
}
