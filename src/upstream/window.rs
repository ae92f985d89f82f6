//! How many queries may be sent to a server at once, so that a burst does not overrun its socket's buffer.
//!
//! What was sent a moment ago and is not answered may still lie in that buffer; what is older has been taken out, or is
//! lost. So a server that answers late is not throttled, only bursts are.

/// Queries a server's buffer surely holds: Linux gives 208 KiB, and a small datagram takes 768 octets of it.
const START: u32 = 200;
/// The window after losses, and after many answers.
const RANGE: (u32, u32) = (32, 4096);
/// So many answers make it larger by one.
const PER_STEP: u32 = 8;
/// Milliseconds that a query counts as just sent, at least; at most twice that.
const MOMENT: u64 = 10;
/// Milliseconds between two reductions.
const PERIOD: u64 = 200;
/// Of so many answers the newer half is compared with the losses.
const MEMORY: u32 = 1024;
/// Fewer losses than this are chance.
const MIN_LOST: u32 = 8;

/// The window of one server. Times are milliseconds since any moment all calls agree on.
#[derive(Debug)]
pub(super) struct Window {
    size: u32,
    /// Unanswered queries of this moment and the one before.
    young: [u32; 2],
    moment: u64,
    since: u64,
    lost: u32,
    answered: u32,
    steps: u32,
}

impl Window {
    /// Nothing is known of the server.
    pub(super) fn new() -> Self {
        Self { size: START, young: [0; 2], moment: 0, since: 0, lost: 0, answered: 0, steps: 0 }
    }

    /// How many may be sent now.
    pub(super) fn room(&mut self, now: u64) -> u32 {
        self.turn(now);
        self.size.saturating_sub(self.young[0] + self.young[1])
    }

    /// When there will be room, if there is none.
    pub(super) fn next(&self) -> u64 {
        (self.moment + 1) * MOMENT
    }

    /// A query was sent; gives what to hand to [`Self::answered`].
    pub(super) fn sent(&mut self, now: u64) -> u64 {
        self.turn(now);
        self.young[0] += 1;
        self.moment
    }

    /// A query sent in that moment needs no answer any more.
    pub(super) fn over(&mut self, moment: u64) {
        if let Some(age @ 0..=1) = self.moment.checked_sub(moment) {
            let young = &mut self.young[age as usize];
            *young = young.saturating_sub(1);
        }
    }

    /// It was answered.
    pub(super) fn answered(&mut self, moment: u64) {
        self.over(moment);
        self.answered += 1;
        if self.answered == MEMORY {
            (self.answered, self.lost) = (MEMORY / 2, self.lost / 2);
        }
        self.steps += 1;
        if self.steps == PER_STEP {
            self.steps = 0;
            self.size = (self.size + 1).min(RANGE.1);
        }
    }

    /// A query had to be sent again. One lost in eight or more is more than a bad line.
    pub(super) fn lost(&mut self, now: u64) {
        self.lost = self.lost.saturating_add(1);
        if self.lost >= MIN_LOST && self.lost >= self.answered / 8 && now.saturating_sub(self.since) >= PERIOD {
            self.size = (self.size / 2).max(RANGE.0);
            (self.since, self.lost) = (now, 0);
        }
    }

    /// Lets time go on.
    fn turn(&mut self, now: u64) {
        match (now / MOMENT).saturating_sub(self.moment) {
            0 => return,
            1 => self.young = [0, self.young[0]],
            _ => self.young = [0; 2],
        }
        self.moment = now / MOMENT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_cut_into_windows_and_a_late_server_is_not_throttled() {
        let mut window = Window::new();
        let mut sent = 0;
        for now in 1_000..2_000 {
            for _ in 0..window.room(now) {
                window.sent(now);
                sent += 1;
            }
            assert!(window.young[0] + window.young[1] <= START);
        }
        // Nothing was answered in that second, and yet it went on.
        assert!((10_000..=20_000).contains(&sent), "{sent}");
    }

    #[test]
    fn answers_make_room_at_once_and_widen_it() {
        let mut window = Window::new();
        for _ in 0..START {
            window.sent(5);
        }
        assert_eq!(window.room(9), 0);
        let moment = window.moment;
        for _ in 0..80 {
            window.answered(moment);
        }
        assert_eq!(window.room(9), 90);
        for _ in 0..1_000_000 {
            window.answered(moment);
        }
        assert_eq!(window.room(9), RANGE.1);
    }

    #[test]
    fn losses_narrow_it_but_not_those_of_a_bad_line() {
        let mut window = Window::new();
        for now in 0..10_000 {
            for _ in 0..20 {
                let moment = window.sent(now);
                window.answered(moment);
            }
            if now % 2 == 0 {
                window.lost(now);
            }
        }
        assert_eq!(window.size, RANGE.1, "one lost in forty");
        for now in 10_000..20_000 {
            window.lost(now);
        }
        assert_eq!(window.size, RANGE.0);
    }

    #[test]
    fn an_answer_of_long_ago_changes_nothing() {
        let mut window = Window::new();
        let moment = window.sent(0);
        window.sent(100);
        window.over(moment);
        assert_eq!(window.room(100), START - 1);
    }
}
