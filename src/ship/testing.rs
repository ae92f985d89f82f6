//! What the tests of this module share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{ServerSettings, Settings};
use crate::event::{AnswerKind, Hit, Outcome, Subject, Transport, Why};
use crate::fetch::{Address, Coding};
use crate::hits::Clients;
use crate::rule::Order;
use crate::util::Zone;

/// A hit on a wire name, at the first moment of 1970.
pub(super) fn hit(name: &[u8]) -> Hit<'_> {
    Hit {
        unix_ms: 0,
        generation: 1,
        client: [192, 0, 2, 1].into(),
        transport: Transport::Udp,
        group: 0,
        qtype: 1,
        outcome: Outcome::Blocked,
        answer: AnswerKind::Sinkhole,
        rule: 0,
        alone: true,
        name,
        target: None,
    }
}

/// A reason with orders by number and authority.
pub(super) fn why(id: u64, outcome: Outcome, rule: &str, orders: &[(&str, &str)]) -> Arc<Why> {
    let order = |&(id, authority): &(&str, &str)| {
        Arc::new(Order { id: id.into(), authority: authority.into(), legal_basis: "a law".into(), ..Order::default() })
    };
    let subject = Subject {
        outcome,
        rule: rule.into(),
        list: "list".into(),
        also: ["also".into()].into(),
        orders: orders.iter().map(order).collect(),
    };
    Arc::new(Why { id, subject, causes: Box::default(), group: None })
}

/// Reads `RowBinary` back, and panics where it is not.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("more");
        self.0 = rest;
        *head
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn length(&mut self) -> usize {
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let [octet] = self.take();
            length |= usize::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                break;
            }
        }
        length
    }

    pub(super) fn text(&mut self) -> String {
        let length = self.length();
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(head.to_vec()).expect("text")
    }

    pub(super) fn texts(&mut self) -> Vec<String> {
        (0..self.length()).map(|_| self.text()).collect()
    }
}

/// For a server at this address, with a spool in `folder`.
pub(super) fn settings(address: &str, folder: &Path) -> Settings {
    Settings {
        server: ServerSettings {
            address: Address::parse(address).expect("an address"),
            database: "qalqan".into(),
            user: "default".into(),
            password_file: None,
            ca_file: None,
            timeout: Duration::from_secs(5),
        },
        instance: "ns1".into(),
        clients: Clients::Truncate,
        key_file: None,
        rows: 1000,
        age: Duration::from_secs(10),
        coding: Coding::Gzip,
        folder: folder.join("spool"),
        spool: 1 << 20,
        window: Duration::from_secs(60),
        zone: Zone::utc(),
    }
}
