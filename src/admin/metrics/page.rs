//! One figure after another, in either format.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::format::Format;
use crate::upstream::LatencyCounts;

/// Labels of one row and what it says.
pub(super) type Row<'a, const N: usize, T> = ([(&'static str, &'a str); N], T);

/// What has been written so far.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    format: Format,
}

impl<'a> Page<'a> {
    /// Nothing yet.
    pub(super) fn new(encoder: DescriptorEncoder<'a>, format: Format) -> Self {
        Self { encoder, format }
    }

    /// Something that only grows; its name goes without `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = self.growing(name);
        let metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        grown(metric, self.format, &ConstCounter::new(value), &ConstGauge::new(value))
    }

    /// Seconds that only grow.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let name = self.growing(name);
        let metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        grown(metric, self.format, &ConstCounter::new(value), &ConstGauge::new(value))
    }

    /// Things that only grow.
    pub(super) fn counters<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'b, N, u64>>,
    ) -> fmt::Result {
        let name = self.growing(name);
        let mut metric = self.encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            let row = metric.encode_family(&labels)?;
            grown(row, self.format, &ConstCounter::new(value), &ConstGauge::new(value))?;
        }
        Ok(())
    }

    /// Something that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    /// Something that goes up and down and need not be there.
    pub(super) fn optional(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(metric))
    }

    /// Things that go up and down.
    pub(super) fn gauges<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'b, N, f64>>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// What took how long.
    pub(super) fn histograms<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'b, N, &'b LatencyCounts>>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, LatencyCounts { buckets, seconds }) in rows {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(*seconds, count, buckets, None)?;
        }
        Ok(())
    }

    /// The name of something that only grows: in the plain format `_total` belongs to it.
    fn growing<'b>(&self, name: &'b str) -> Cow<'b, str> {
        match self.format {
            Format::OpenMetrics => name.into(),
            Format::Plain => format!("{name}_total").into(),
        }
    }
}

/// Writes a value that only grows. The encoder puts `_total` behind the name of a counter, as OpenMetrics wants it; where it
/// stands there already it is given the value as a gauge's.
fn grown(
    metric: MetricEncoder<'_>,
    format: Format,
    counter: &impl EncodeMetric,
    gauge: &impl EncodeMetric,
) -> fmt::Result {
    match format {
        Format::OpenMetrics => counter.encode(metric),
        Format::Plain => gauge.encode(metric),
    }
}
