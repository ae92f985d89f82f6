//! All questions under way over UDP, and the sockets they went through.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, make_rng};

use crate::net::{Connected, Epoll, Events, Inbox, Outbox};

use super::super::Trouble;
use super::super::question::{Match, Question};
use super::socket::{MAX_RETIRED, POOL, Socket, Way};
use super::{Answer, Datagram, Strange};

/// Questions of one batch that go through the same socket.
pub(super) const GROUP: usize = 8;
/// So many replies with a wrong id or in wrong letter case are no accident: somebody guesses.
pub(super) const MAX_WRONG: u8 = 8;

/// A question.
struct Slot {
    /// Tells it from others that had the same place.
    serial: u64,
    question: Question,
    mix_case: bool,
    way: usize,
    phase: Phase,
    waker: Option<Waker>,
    wrong: u8,
}

/// How far it has come.
enum Phase {
    /// The place is free.
    Free,
    /// To be sent.
    Queued,
    /// Sent through this socket, in that moment of the window.
    Sent { socket: usize, moment: u64 },
    /// Over.
    Done(Answer),
    /// The answer was taken.
    Taken,
}

/// What [`State`] works with while it sends and receives; owned by the task.
#[derive(Default)]
pub(super) struct Tools {
    events: Events,
    inbox: Inbox,
    outbox: Outbox,
    group: Vec<usize>,
    lost: Vec<(usize, Trouble)>,
}

/// See the module's headline.
pub(super) struct State {
    rng: StdRng,
    slots: Vec<Slot>,
    free: Vec<usize>,
    serial: u64,
    ways: Vec<Way>,
    sockets: Vec<Option<Socket>>,
    free_sockets: Vec<usize>,
    retired: usize,
    driver: Option<Waker>,
    started: bool,
    woken: Vec<Waker>,
    /// The last handle is gone.
    pub(super) closed: bool,
    /// For the operator.
    pub(super) strange: Strange,
}

impl State {
    /// No servers, no questions.
    pub(super) fn new() -> Self {
        Self {
            rng: make_rng(),
            slots: Vec::new(),
            free: Vec::new(),
            serial: 0,
            ways: Vec::new(),
            sockets: Vec::new(),
            free_sockets: Vec::new(),
            retired: 0,
            driver: None,
            started: false,
            woken: Vec::new(),
            closed: false,
            strange: Strange::default(),
        }
    }

    /// One more server; its number.
    pub(super) fn add(&mut self, server: SocketAddr) -> usize {
        self.ways.push(Way::new(server));
        self.ways.len() - 1
    }

    /// Whether the task has to be started, which the caller then does.
    pub(super) fn start(&mut self) -> bool {
        !mem::replace(&mut self.started, true)
    }

    /// The task sleeps, and this wakes it.
    pub(super) fn take_driver(&mut self) -> Option<Waker> {
        self.driver.take()
    }

    /// The task is about to sleep.
    pub(super) fn set_driver(&mut self, waker: &Waker) {
        self.driver = Some(waker.clone());
    }

    /// Those whose answer is there; the caller wakes them and gives the vector back empty.
    pub(super) fn swap_woken(&mut self, woken: &mut Vec<Waker>) {
        mem::swap(&mut self.woken, woken);
    }

    /// Takes a question in; gives its place.
    pub(super) fn enqueue(&mut self, way: usize, question: Question, again: bool, mix_case: bool) -> usize {
        self.serial += 1;
        let serial = self.serial;
        let slot = Slot { serial, question, mix_case, way, phase: Phase::Queued, waker: None, wrong: 0 };
        let key = match self.free.pop() {
            Some(key) => {
                self.slots[key] = slot;
                key
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        if let Some(way) = self.ways.get_mut(way) {
            way.queue.push_back((key, serial));
            way.again += u32::from(again);
        }
        key
    }

    /// Questions in their places and at sockets.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> (usize, usize) {
        let waiting = self.sockets.iter().flatten().map(|socket| socket.pending.len());
        (self.slots.len() - self.free.len(), waiting.sum())
    }

    /// The answer, if it is there.
    pub(super) fn poll(&mut self, key: usize, waker: &Waker) -> Poll<Answer> {
        let Some(slot) = self.slots.get_mut(key) else { return Poll::Ready(Err(Trouble::Unreachable)) };
        if !matches!(slot.phase, Phase::Done(_)) {
            if !slot.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                slot.waker = Some(waker.clone());
            }
            return Poll::Pending;
        }
        match mem::replace(&mut slot.phase, Phase::Taken) {
            Phase::Done(answer) => Poll::Ready(answer),
            _ => Poll::Pending,
        }
    }

    /// Nobody waits for this one any more.
    pub(super) fn forget(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let (phase, way) = (mem::replace(&mut slot.phase, Phase::Free), slot.way);
        slot.waker = None;
        // What is queued still is skipped there by its serial.
        slot.serial = 0;
        self.free.push(key);
        if let Phase::Sent { socket, moment } = phase {
            if let Some(way) = self.ways.get_mut(way) {
                way.window.over(moment);
            }
            self.leave(socket, key);
        }
    }

    /// Everything under way has failed: the task is gone.
    pub(super) fn fail_all(&mut self) {
        self.started = false;
        self.driver = None;
        for way in &mut self.ways {
            way.queue.clear();
            way.pool = [None; POOL];
        }
        self.sockets.clear();
        self.free_sockets.clear();
        self.retired = 0;
        for key in 0..self.slots.len() {
            if matches!(self.slots[key].phase, Phase::Queued | Phase::Sent { .. }) {
                self.finish(key, Err(Trouble::Unreachable));
            }
        }
    }

    /// Reads from all sockets that have something; `true` if there may be more.
    pub(super) fn receive(&mut self, epoll: &Epoll, tools: &mut Tools) -> bool {
        if epoll.ready(&mut tools.events).is_err() {
            return true;
        }
        let Tools { events, inbox, .. } = tools;
        for token in events.tokens() {
            self.read(token as usize, inbox);
        }
        events.is_full()
    }

    /// Sends what may be sent. Gives when to come again, if something is left.
    pub(super) fn send(&mut self, epoll: &Epoll, tools: &mut Tools, now: u64) -> Option<u64> {
        let mut next = None;
        for way in 0..self.ways.len() {
            if !self.ways[way].queue.is_empty() {
                next = next.into_iter().chain(self.send_to(way, epoll, tools, now)).min();
            }
        }
        next
    }

    /// Lets go of sockets that have served their time; `false` if none is open.
    pub(super) fn sweep(&mut self, now: u64) -> bool {
        let mut open = false;
        for at in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[at] else { continue };
            open = true;
            if socket.pooled.is_some() && socket.is_spent(now) {
                self.retire(at);
            }
        }
        open
    }

    /// As [`Self::send`], for one server.
    fn send_to(&mut self, at: usize, epoll: &Epoll, tools: &mut Tools, now: u64) -> Option<u64> {
        for _ in 0..mem::take(&mut self.ways[at].again) {
            self.ways[at].window.lost(now);
        }
        loop {
            let room = self.ways[at].window.room(now) as usize;
            tools.group.clear();
            while tools.group.len() < room.min(GROUP) {
                let Some((key, serial)) = self.ways[at].queue.pop_front() else { break };
                if self.slots.get(key).is_some_and(|slot| slot.serial == serial) {
                    tools.group.push(key);
                }
            }
            if tools.group.is_empty() {
                return (!self.ways[at].queue.is_empty()).then(|| self.ways[at].window.next());
            }
            match self.socket(at, epoll, now) {
                Ok(socket) => self.send_group(at, socket, tools, now),
                Err(_) => {
                    for &key in &tools.group {
                        self.finish(key, Err(Trouble::Unreachable));
                    }
                }
            }
        }
    }

    /// Sends the questions of `tools.group` through one socket.
    fn send_group(&mut self, at: usize, place: usize, tools: &mut Tools, now: u64) {
        let Tools { outbox, group, lost, .. } = tools;
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        for &key in group.iter() {
            let slot = &mut self.slots[key];
            let id = loop {
                // The upper half: all halves of ChaCha's output are equally good.
                let id = (self.rng.next_u32() >> 16) as u16;
                if socket.find(id).is_none() {
                    break id;
                }
            };
            slot.question.set_id(id);
            if slot.mix_case {
                slot.question.mix_case(&mut self.rng);
            }
            outbox.push(slot.question.bytes(), None);
            socket.pending.push((id, key));
            socket.used += 1;
            slot.phase = Phase::Sent { socket: place, moment: self.ways[at].window.sent(now) };
        }
        lost.clear();
        let mut refused = false;
        outbox.send(&socket.socket, |index, error| match error.kind() {
            // Not of this datagram, but of one sent before it; this one has not been sent.
            io::ErrorKind::ConnectionRefused => refused = true,
            // A full buffer loses a datagram as any router may; it is sent again in time.
            io::ErrorKind::WouldBlock => {}
            _ => lost.extend(group.get(index).map(|&key| (key, Trouble::Unreachable))),
        });
        if refused {
            self.fail_socket(place);
        }
        for (key, trouble) in lost.drain(..) {
            self.finish(key, Err(trouble));
        }
    }

    /// The socket that the next questions go through: one of the pool by chance, a new one if that has served its time.
    fn socket(&mut self, at: usize, epoll: &Epoll, now: u64) -> io::Result<usize> {
        let chosen = self.rng.next_u32() as usize % POOL;
        let old = self.ways[at].pool[chosen];
        let spent = |place: usize| self.sockets[place].as_ref().is_none_or(|socket| socket.is_spent(now));
        if let Some(place) = old.filter(|&place| !spent(place) || self.retired >= MAX_RETIRED) {
            return Ok(place);
        }
        match self.open(at, chosen, epoll, now) {
            Ok(place) => {
                if let Some(old) = old {
                    self.retire(old);
                }
                self.ways[at].pool[chosen] = Some(place);
                Ok(place)
            }
            // Out of descriptors, most likely: rather an old port than no answer.
            Err(error) => old.or_else(|| self.ways[at].pool.iter().flatten().next().copied()).ok_or(error),
        }
    }

    /// Opens a socket.
    fn open(&mut self, way: usize, chosen: usize, epoll: &Epoll, now: u64) -> io::Result<usize> {
        let socket = Connected::open(self.ways[way].server)?;
        let place = self.free_sockets.pop().unwrap_or(self.sockets.len());
        if let Err(error) = epoll.add(&socket, place as u64) {
            if place < self.sockets.len() {
                self.free_sockets.push(place);
            }
            return Err(error);
        }
        let socket = Socket { socket, way, pooled: Some(chosen), pending: Vec::new(), used: 0, opened: now };
        match self.sockets.get_mut(place) {
            Some(free) => *free = Some(socket),
            None => self.sockets.push(Some(socket)),
        }
        Ok(place)
    }

    /// Takes a socket out of the pool; it is closed when nobody waits for it any more.
    fn retire(&mut self, place: usize) {
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        let Some(pooled) = socket.pooled.take() else { return };
        self.retired += 1;
        if let Some(way) = self.ways.get_mut(socket.way)
            && way.pool[pooled] == Some(place)
        {
            way.pool[pooled] = None;
        }
        self.close_if_idle(place);
    }

    /// Closes a retired socket without questions.
    fn close_if_idle(&mut self, place: usize) {
        let Some(slot) = self.sockets.get_mut(place) else { return };
        if slot.as_ref().is_some_and(|socket| socket.pooled.is_none() && socket.pending.is_empty()) {
            *slot = None;
            self.free_sockets.push(place);
            self.retired -= 1;
        }
    }

    /// A question no longer waits at a socket.
    fn leave(&mut self, place: usize, key: usize) {
        if let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) {
            socket.pending.retain(|&(_, known)| known != key);
            self.close_if_idle(place);
        }
    }

    /// Reads everything from one socket.
    fn read(&mut self, place: usize, inbox: &mut Inbox) {
        loop {
            let Some(socket) = self.sockets.get(place).and_then(Option::as_ref) else { return };
            match inbox.receive(&socket.socket) {
                Ok(more) => {
                    for (datagram, cut) in inbox.datagrams() {
                        self.arrived(place, datagram, cut);
                    }
                    if !more {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // "Port unreachable" and the like. Reading it has cleared it.
                Err(_) => self.fail_socket(place),
            }
        }
    }

    /// Whose datagram is it? The socket has seen to its source address and port.
    fn arrived(&mut self, place: usize, datagram: &[u8], cut: bool) {
        let Some(socket) = self.sockets.get(place).and_then(Option::as_ref) else { return };
        let id = datagram.first_chunk().map(|id| u16::from_be_bytes(*id));
        let Some(key) = id.and_then(|id| socket.find(id)) else {
            self.strange.ignored += 1;
            // Right but for the id: somebody guesses.
            let mut near = socket.pending.iter().map(|&(_, key)| key);
            let meant = near.find(|&key| {
                let compared = self.slots[key].question.compare(datagram);
                matches!(compared, Match::Exact | Match::OtherCase)
            });
            if let Some(key) = meant {
                self.wrong(key);
            }
            return;
        };
        let slot = &self.slots[key];
        match slot.question.compare(datagram) {
            Match::Exact => self.finish(key, Ok(Datagram { bytes: Arc::from(datagram), cut })),
            Match::OtherCase if slot.mix_case => self.finish(key, Err(Trouble::OtherCase)),
            Match::OtherCase => self.finish(key, Ok(Datagram { bytes: Arc::from(datagram), cut })),
            Match::Bare(rcode) => self.finish(key, Err(Trouble::Bare(rcode))),
            Match::Broken => self.finish(key, Err(Trouble::Garbled)),
            Match::No => {
                self.strange.ignored += 1;
                self.wrong(key);
            }
        }
    }

    /// A reply to this question was not right.
    fn wrong(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.wrong += 1;
        if slot.wrong >= MAX_WRONG {
            self.strange.attacked += 1;
            self.finish(key, Err(Trouble::Attacked));
        }
    }

    /// The server cannot be reached through this socket: so all who wait there are told.
    fn fail_socket(&mut self, place: usize) {
        let Some(socket) = self.sockets.get_mut(place).and_then(Option::as_mut) else { return };
        for (_, key) in mem::take(&mut socket.pending) {
            self.finish(key, Err(Trouble::Unreachable));
        }
        self.close_if_idle(place);
    }

    /// A question has its answer.
    fn finish(&mut self, key: usize, answer: Answer) {
        let slot = &mut self.slots[key];
        let answered = !matches!(answer, Err(Trouble::Unreachable));
        let phase = mem::replace(&mut slot.phase, Phase::Done(answer));
        self.woken.extend(slot.waker.take());
        if let Phase::Sent { socket, moment } = phase {
            if let Some(way) = self.ways.get_mut(slot.way) {
                if answered { way.window.answered(moment) } else { way.window.over(moment) }
            }
            self.leave(socket, key);
        }
    }
}
