//! What the gate says of single entries, when somebody decides about them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Gatekeeper;
use crate::config::Settings;
use crate::gate::{Finding, Held, Look, Pattern, blocks};
use crate::name::NameBuf;
use crate::rule::Scope;
use crate::set::Part;

/// Where an entry of a list stands.
#[derive(Clone, Debug)]
pub(in crate::reload) enum Standing {
    /// A check holds it, whatever was decided about that.
    Held(Box<Held>),
    /// No check does.
    Free {
        /// Its file.
        file: Arc<str>,
        /// Its line.
        line: u32,
    },
}

impl Gatekeeper {
    /// Where these entries of a list stand; those that are not in it are left out. Goes through the whole list, for
    /// what is reported of held entries is bounded.
    pub(in crate::reload) fn standing(
        &self,
        settings: &Settings,
        parts: &[Part],
        list: &str,
        wanted: &[Pattern],
    ) -> HashMap<Pattern, Standing> {
        let mut found: HashMap<Pattern, Standing> = HashMap::new();
        let named = settings.lists.iter().position(|settings| settings.spec.name == list);
        let Some((at, list)) = named.and_then(|at| Some((at, settings.lists.get(at)?))) else { return found };
        let by_name: HashMap<(Scope, &[u8]), &Pattern> =
            wanted.iter().map(|pattern| ((pattern.scope, pattern.name.wire()), pattern)).collect();
        if by_name.is_empty() {
            return found;
        }
        for part in parts.iter().filter(|part| usize::from(part.list) == at) {
            let (mut names, mut name) = (part.rules.names(), NameBuf::new());
            while let Some(rule) = names.next(&mut name) {
                let (_, kind) = part.rules.kind(rule);
                let Some(&pattern) = by_name.get(&(kind.scope, name.wire())).filter(|_| blocks(&kind.effect)) else {
                    continue;
                };
                // The same entry stands alike wherever it stands; the first place is told.
                if found.contains_key(pattern) {
                    continue;
                }
                let standing = match self.gate.look(&list.gate, kind.scope, name.wire()) {
                    Look::Held(reason) => {
                        let finding = Finding { rule, reason };
                        Standing::Held(Box::new(self.gate.held(&list.spec.name, &part.rules, finding, &self.decided)))
                    }
                    Look::Pass | Look::Excepted => {
                        let (file, line) = (Arc::clone(part.rules.path()), part.rules.rule(rule).line);
                        Standing::Free { file, line }
                    }
                };
                found.insert(pattern.clone(), standing);
            }
        }
        found
    }
}
