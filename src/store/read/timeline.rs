//! Hits along a time, step by step.

use super::{Counts, Filter, Level, ReadError, Reader, Span, Subjects, plan_of};

/// The most steps of a minute, and of an hour, before the next coarser one is taken.
const MAX_STEPS: i64 = 200;

/// Bars of equal steps, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// How long each is.
    pub step: Level,
    /// What they really cover.
    pub span: Span,
    /// In order.
    pub bars: Vec<Bar>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its first minute.
    pub start: i64,
    /// What was counted in it.
    pub counts: Counts,
}

impl Reader {
    /// The timeline of a time: by the finest step that is still kept for all of it and gives no more bars than can be
    /// looked at. It covers whole steps.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn timeline(&self, wanted: Span, subjects: &Subjects, filter: &Filter) -> Result<Timeline, ReadError> {
        let fits = |step: Level| match step {
            Level::Minute => wanted.minutes() <= MAX_STEPS,
            Level::Hour => wanted.minutes() <= MAX_STEPS * 60,
            Level::Day => true,
        };
        let steps = [Level::Minute, Level::Hour, Level::Day].into_iter().filter(|&step| fits(step));
        let found =
            steps.filter_map(|step| plan_of(wanted, self.kept, &self.days, step).map(|plan| (step, plan))).next();
        let (step, plan) = found.unwrap_or_else(|| (Level::Day, self.plan(wanted)));
        let mut bars = self.empty(step, plan.span);
        self.whole(|| {
            self.each(&plan, |minute, _, subject, counts| {
                if !filter.is_all() && !subjects.by_id.get(&subject).is_some_and(|subject| filter.takes(subject)) {
                    return;
                }
                let after = bars.partition_point(|bar| bar.start <= minute);
                if let Some(bar) = after.checked_sub(1).and_then(|at| bars.get_mut(at)) {
                    bar.counts.add(counts);
                }
            })
        })?;
        Ok(Timeline { step, span: plan.span, bars })
    }

    /// All steps of a time, nothing counted yet.
    fn empty(&self, step: Level, span: Span) -> Vec<Bar> {
        let bar = |start| Bar { start, counts: Counts::default() };
        match step {
            Level::Minute => (span.from..span.to).map(bar).collect(),
            Level::Hour => {
                (span.from.div_euclid(60)..(span.to + 59).div_euclid(60)).map(|hour| bar(hour * 60)).collect()
            }
            Level::Day => (self.days.of(span.from)..self.days.of(self.days.ceil(span.to)))
                .map(|day| bar(self.days.start(day)))
                .collect(),
        }
    }
}
