//! Rules for tests, from text.

use std::sync::Arc;

use crate::limit::Acl;
use crate::list::{Format, Spec, parse};
use crate::policy::{Answer, AnswerMode, AnswerSettings, ListPolicy};
use crate::rule::{Mode, Order, Role};
use crate::set::Part;
use crate::snapshot::Snapshot;
use crate::util::UnixTime;

/// The moment of all tests.
pub const NOW: UnixTime = UnixTime(1_000);

/// A list to be.
pub struct List<'a> {
    pub format: Format,
    pub role: Role,
    pub mode: Mode,
    pub answer: AnswerMode,
    pub ede: Option<u16>,
    pub order: Option<Order>,
    pub text: &'a str,
}

impl<'a> List<'a> {
    /// An enforced block list with a sinkhole and extended error 16.
    pub fn new(text: &'a str) -> Self {
        let (role, mode, answer) = (Role::Block, Mode::Enforce, AnswerMode::Sinkhole);
        Self { format: Format::Domains, role, mode, answer, ede: Some(16), order: None, text }
    }
}

/// Compiles lists; they are called `list0` and so on.
pub fn snapshot(lists: &[List<'_>]) -> Snapshot {
    let (mut policies, mut parts) = (Vec::new(), Vec::new());
    for (index, list) in lists.iter().enumerate() {
        let name = format!("list{index}");
        let spec = Spec { role: list.role, order: list.order.clone(), ..Spec::new(&name, "x".into(), list.format) };
        let rules = parse(&spec, &"x".into(), list.text.as_bytes()).expect("a list").rules;
        let answer = AnswerSettings {
            mode: list.answer,
            ipv4: vec![[192, 0, 2, 80].into()],
            ipv6: vec!["2001:db8::80".parse().expect("an address")],
            cname: Some(crate::name::Name::parse("page.example").expect("a name")),
            ttl: 30,
            ede: list.ede,
            text: "Blocked by {order}".into(),
            language: "en".into(),
        };
        let (role, mode, answer) = (list.role, list.mode, Answer::new(&answer));
        policies.push(ListPolicy { name: name.as_str().into(), role, mode, answer, slot: index });
        parts.push(Part::new(index as u16, Arc::clone(&rules)));
    }
    let acl = Acl::new(&crate::cli::load::anybody());
    Snapshot::compile(1, policies, parts, acl, NOW).expect("few rules")
}
