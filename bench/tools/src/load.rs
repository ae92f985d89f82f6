//! Asks, counts, checks, and takes times.
//!
//! `load --server ADDRESS --names FILE --seconds S [--rate QPS] [--window N] [--warm S] [--pid PID] [--check no]
//! [--edns no]`; one JSON object is printed. FILE has one query a line, `query::Query::parse` says how. With `--seconds 0` it
//! goes on until standard input ends; each line there prints one object about the time since the line before.
//!
//! Without `--rate`, as many queries are kept under way as `--window` says, so the server is never idle. With it,
//! queries are sent at even intervals and times are taken from just before a query is sent to when the kernel had the
//! answer, so that a load generator that is put aside for a moment does not look like a slow server. The window is
//! small enough for the default socket buffer of a server (212,992 octets are 166 small messages as the kernel counts).

use std::collections::VecDeque;
use std::io::{self, BufRead as _};
use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use crate::args::{Args, Result};
use crate::batch::{self, BATCH, Batch, With};
use crate::clock::{self, CpuClock};
use crate::histogram::Histogram;
use crate::query::{FRESH, Query, freshen};

/// Bits of the ID that say which slot; the others tell uses of the slot apart. A steady 20,000 queries a second of which
/// none is answered have 10,000 under way when the first is given up.
const SLOT_BITS: u32 = 14;
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
    /// Slots that are free, the one that was so longest first.
    free: VecDeque<u16>,
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
    load.drive(rate, within(warm))?;
    if seconds > 0.0 {
        load.measure(rate, clock, true, within(seconds))?;
        return Ok(());
    }
    let marks = marks();
    let mut more = true;
    while more {
        load.measure(rate, clock, false, |_| match marks.try_recv() {
            Ok(()) => true,
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => {
                more = false;
                true
            }
        })?;
    }
    Ok(())
}

/// Says when so many seconds have gone.
fn within(seconds: f64) -> impl FnMut(u64) -> bool {
    let end = clock::now() + (seconds * 1e9) as u64;
    move |now| now >= end
}

/// One message a line of standard input.
fn marks() -> Receiver<()> {
    let (sender, marks) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if line.is_err() || sender.send(()).is_err() {
                return;
            }
        }
    });
    marks
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

    /// Asks until it is time, and prints what came of it; with `drain`, also of what is under way then.
    fn measure(
        &mut self,
        rate: f64,
        clock: Option<CpuClock>,
        drain: bool,
        done: impl FnMut(u64) -> bool,
    ) -> Result<()> {
        self.counts = Counts::default();
        self.times = Histogram::new();
        let (began, cpu_began) = (clock::now(), clock.map(CpuClock::read));
        self.drive(rate, done)?;
        let elapsed = (clock::now() - began) as f64 / 1e9;
        let cpu = clock.map(CpuClock::read).zip(cpu_began).map_or(0.0, |(after, before)| (after - before) as f64 / 1e9);
        if rate > 0.0 && drain {
            self.drain()?;
        }
        let Counts { sent, answers, wrong, lost } = self.counts;
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| self.times.share(share));
        println!(
            "{{\"seconds\":{elapsed:.6},\"cpu\":{cpu:.6},\"sent\":{sent},\"answers\":{answers},\"wrong\":{wrong},\
             \"lost\":{lost},\"p50\":{p50:.1},\"p99\":{p99:.1},\"p999\":{p999:.1}}}"
        );
        Ok(())
    }

    /// Asks until it is time, at a rate or (0) as fast as the server answers.
    fn drive(&mut self, rate: f64, mut done: impl FnMut(u64) -> bool) -> Result<()> {
        let began = clock::now();
        let mut asked = 0_u64;
        loop {
            let now = clock::now();
            if done(now) {
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
            let slot_index = self.free[index];
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
            if let Some(slot) = self.free.pop_front() {
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
            self.free.push_back(slot_index);
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
                self.free.push_back(index as u16);
            }
        }
    }
}
