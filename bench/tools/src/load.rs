//! Asks, counts, checks, and takes times.
//!
//! `load --server ADDRESS --names FILE --seconds S [--rate QPS] [--window N] [--warm S] [--pid PID] [--check no]
//! [--edns no]`; one JSON object is printed. FILE has one query a line, `query::Query::parse` says how.
//!
//! Without `--rate`, as many queries are kept under way as `--window` says, so the server is never idle. With it,
//! queries are sent at even intervals and times are taken from just before a query is sent to when the kernel had the
//! answer, so that a load generator that is put aside for a moment does not look like a slow server. The window is
//! small enough for the default socket buffer of a server (212,992 octets are 166 small messages as the kernel counts).

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use crate::args::{Args, Result};
use crate::batch::{self, BATCH, Batch, With};
use crate::clock::{self, CpuClock};
use crate::histogram::Histogram;
use crate::query::{FRESH, Query, freshen};

/// Bits of the ID that say which slot; the others tell uses of the slot apart.
const SLOT_BITS: u32 = 12;
/// An answer that takes longer than this is lost, in nanoseconds.
const PATIENCE: u64 = 500_000_000;
/// A pause while answers gather. It is this side's timer that ends it, so the server never pays for waking it.
const PAUSE: Duration = Duration::from_micros(60);

/// A query under way.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Whether there is one.
    busy: bool,
    /// Which use of the slot this is.
    turn: u16,
    /// Which query.
    query: u32,
    /// When it was sent.
    sent: u64,
}

/// Counts of one measurement.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Queries sent.
    sent: u64,
    /// Answers taken.
    answers: u64,
    /// Of these, not what was expected.
    wrong: u64,
    /// Queries whose answer did not come.
    lost: u64,
}

/// The load generator.
struct Load {
    /// Connected to the server.
    socket: UdpSocket,
    /// What to ask, again and again.
    queries: Vec<Query>,
    /// The next of them.
    next: usize,
    /// Numbers of names never asked before.
    fresh: u64,
    /// Queries under way.
    slots: Vec<Slot>,
    /// Slots that are free.
    free: Vec<u16>,
    /// Whether answers are judged.
    check: bool,
    /// When the next look at lost queries is due.
    sweep: u64,
    /// What was counted.
    counts: Counts,
    /// Times of answers.
    times: Histogram,
    /// Buffers.
    batch: Batch,
}

/// Measures once and prints what came.
pub fn run(args: &Args) -> Result<()> {
    let seconds: f64 = args.need("seconds")?;
    let warm: f64 = args.get("warm", 0.05)?;
    let rate: f64 = args.get("rate", 0.0)?;
    let clock = match args.get("pid", 0)? {
        0 => None,
        pid => Some(CpuClock::of(pid)?),
    };
    let mut load = Load::new(args, rate > 0.0)?;
    clock::sleep_exactly();
    load.drive(warm, rate)?;
    load.counts = Counts::default();
    load.times = Histogram::new();
    let (began, cpu_began) = (clock::now(), clock.map(CpuClock::read));
    load.drive(seconds, rate)?;
    let elapsed = (clock::now() - began) as f64 / 1e9;
    let cpu = clock.map(CpuClock::read).zip(cpu_began).map_or(0.0, |(after, before)| (after - before) as f64 / 1e9);
    let answered = load.counts;
    if rate > 0.0 {
        load.drain()?;
        load.counts.sent = answered.sent;
    }
    let Counts { sent, answers, wrong, lost } = load.counts;
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| load.times.share(share));
    println!(
        "{{\"seconds\":{elapsed:.6},\"cpu\":{cpu:.6},\"sent\":{sent},\"answers\":{answers},\"wrong\":{wrong},\
         \"lost\":{lost},\"p50\":{p50:.1},\"p99\":{p99:.1},\"p999\":{p999:.1}}}"
    );
    Ok(())
}

impl Load {
    /// Everything made before the first query.
    fn new(args: &Args, paced: bool) -> Result<Self> {
        let edns = args.get("edns", "yes".to_owned())? != "no";
        let file = args.need::<String>("names")?;
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        let queries = text.lines().map(|line| Query::parse(line, edns)).collect::<Result<Vec<_>>>()?;
        if queries.is_empty() {
            return Err(format!("{file}: holds no queries").into());
        }
        let window: u16 = args.get("window", 128)?;
        // A paced run has as many under way as its rate and the patience make; slots are just IDs then.
        let window = if paced { 1 << SLOT_BITS } else { window.min(1 << SLOT_BITS) };
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(args.need::<String>("server")?)?;
        batch::tune(&socket, paced);
        // Each run begins with another query, so that short runs see all of the file in time.
        let now = clock::now();
        Ok(Self {
            socket,
            next: (now / 1000) as usize % queries.len(),
            queries,
            fresh: now,
            slots: vec![Slot::default(); usize::from(window)],
            free: (0..window).collect(),
            check: args.get("check", "yes".to_owned())? != "no",
            sweep: 0,
            counts: Counts::default(),
            times: Histogram::new(),
            batch: Batch::new(),
        })
    }

    /// Asks for some seconds, at a rate or (0) as fast as the server answers.
    fn drive(&mut self, seconds: f64, rate: f64) -> Result<()> {
        let began = clock::now();
        let end = began + (seconds * 1e9) as u64;
        let mut asked = 0_u64;
        loop {
            let now = clock::now();
            if now >= end {
                return Ok(());
            }
            let room = if rate > 0.0 {
                let due = ((now - began) as f64 / 1e9 * rate) as u64;
                (due.saturating_sub(asked)) as usize
            } else {
                BATCH
            };
            let sent = self.ask(room.min(BATCH), now)?;
            asked += sent as u64;
            let taken = self.take(rate > 0.0)?;
            self.give_up(now);
            if rate <= 0.0 && sent < BATCH && taken < BATCH {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Takes what is still to come at the end of a paced run.
    fn drain(&mut self) -> Result<()> {
        let end = clock::now() + PATIENCE + PATIENCE / 5;
        while self.free.len() < self.slots.len() && clock::now() < end {
            self.take(true)?;
            thread::sleep(PAUSE);
        }
        self.sweep = 0;
        self.give_up(clock::now());
        Ok(())
    }

    /// Sends up to `room` queries; how many went.
    fn ask(&mut self, room: usize, now: u64) -> Result<usize> {
        let count = room.min(self.free.len());
        for index in 0..count {
            let slot_index = self.free[self.free.len() - 1 - index];
            let slot = &mut self.slots[usize::from(slot_index)];
            let query = &self.queries[self.next];
            *slot = Slot { busy: false, turn: slot.turn.wrapping_add(1), query: self.next as u32, sent: now };
            self.next = if self.next + 1 == self.queries.len() { 0 } else { self.next + 1 };
            let (bytes, length) = self.batch.slot(index);
            *length = query.wire.len();
            bytes[..*length].copy_from_slice(&query.wire);
            bytes[..2].copy_from_slice(&(slot_index | slot.turn << SLOT_BITS).to_be_bytes());
            if query.fresh {
                self.fresh += 1;
                freshen(&mut bytes[13..13 + FRESH], self.fresh);
            }
        }
        if count == 0 {
            return Ok(0);
        }
        let sent = self.batch.send(&self.socket, With::Nothing, count)?;
        for _ in 0..sent {
            if let Some(slot) = self.free.pop() {
                self.slots[usize::from(slot)].busy = true;
            }
        }
        self.counts.sent += sent as u64;
        Ok(sent)
    }

    /// Takes the answers that are there, one batch of them.
    fn take(&mut self, times: bool) -> Result<usize> {
        let with = if times { With::Times } else { With::Nothing };
        let count = self.batch.receive(&self.socket, with, false)?;
        for index in 0..count {
            let message = self.batch.message(index);
            let Some(&[high, low]) = message.get(..2) else { continue };
            let id = u16::from_be_bytes([high, low]);
            let slot_index = id & ((1 << SLOT_BITS) - 1);
            let Some(slot) = self.slots.get_mut(usize::from(slot_index)) else { continue };
            // An answer after patience ended was counted as lost.
            if !slot.busy || slot.turn << SLOT_BITS != id & !((1 << SLOT_BITS) - 1) {
                continue;
            }
            slot.busy = false;
            self.free.push(slot_index);
            self.counts.answers += 1;
            if self.check && !self.queries[slot.query as usize].fits(message) {
                self.counts.wrong += 1;
            }
            if times {
                let came = self.batch.time(index).unwrap_or_else(clock::now);
                self.times.add(came.saturating_sub(slot.sent));
            }
        }
        Ok(count)
    }

    /// Frees the slots of queries whose answer will not come.
    fn give_up(&mut self, now: u64) {
        if now < self.sweep {
            return;
        }
        self.sweep = now + PATIENCE / 10;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.busy && slot.sent + PATIENCE < now {
                slot.busy = false;
                self.counts.lost += 1;
                self.free.push(index as u16);
            }
        }
    }
}
