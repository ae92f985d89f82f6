//! The hit log's lines, for whoever reads them from a pipe or a socket.

use std::sync::Arc;

use super::encode::Encode;
use super::said::Remembered;
use crate::event::{Hit, Why};
use crate::hits::{Clients, Lines, json_fields};

/// Writes them.
pub(super) struct Json {
    lines: Lines,
    said: Remembered,
}

impl Json {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients) -> Self {
        Self { lines: Lines::new(clients), said: Remembered::default() }
    }
}

impl Encode for Json {
    fn encode(&mut self, hit: &Hit<'_>, why: &Arc<Why>, out: &mut Vec<u8>) {
        let said = self.said.of(why, |why, fields, _| fields.extend_from_slice(&json_fields(why)));
        self.lines.push(hit, &said.one, out);
        // The end of the line belongs to what stands around it.
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::event::Cause;
    use crate::stream::tests::{Hostile, hostile};

    proptest! {
        #[test]
        fn hostile_content_stays_one_line_and_reads_back(hostile in hostile()) {
            let Hostile { hit, why } = &hostile;
            let subject = why.subject.clone();
            let cause = Cause {
                list: subject.list.to_string(),
                file: "f".into(),
                line: 1,
                rule: subject.rule.to_string(),
                orders: subject.orders.to_vec(),
            };
            let why = Arc::new(Why { id: 1, subject, causes: [cause].into(), group: None });
            let mut out = Vec::new();
            Json::new(Clients::Full).encode(&hit.as_hit(), &why, &mut out);
            prop_assert!(!out.contains(&b'\n'));
            let line: Value = serde_json::from_slice(&out).expect("JSON");
            prop_assert_eq!(line["list"].as_str(), Some(&*why.subject.list));
            let name = hit.name_text();
            prop_assert_eq!(line["name"].as_str(), Some(&*name));
            let ids = line["orders"].as_array().expect("an array").len();
            prop_assert!(ids <= why.subject.orders.len());
        }
    }
}
