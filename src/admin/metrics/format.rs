//! The two text formats, and which one a client wants.

/// A text format for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The older one of Prometheus, which everybody reads.
    Plain,
}

impl Format {
    /// What an `Accept` header wants most; what it does not know of is no reason to answer nothing.
    pub fn wanted(accept: &str) -> Self {
        let quality = |kinds: &[&str]| {
            let ranges = accept.split(',').filter_map(range);
            ranges.filter(|(kind, _)| kinds.contains(&kind.as_str())).map(|(_, quality)| quality).max()
        };
        match (quality(&["application/openmetrics-text"]), quality(&["text/plain", "text/*", "*/*"])) {
            (Some(open), plain) if open > 0 && plain.is_none_or(|plain| open >= plain) => Self::OpenMetrics,
            _ => Self::Plain,
        }
    }

    /// As it is labelled.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One media range and its quality in thousandths (RFC 9110 section 12.5.1); none if it is of a version we do not speak.
fn range(text: &str) -> Option<(String, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let mut quality = 1000;
    for part in parts {
        match part.split_once('=')? {
            ("q" | "Q", value) => {
                let value: f32 = value.parse().ok().filter(|value| (0.0..=1.0).contains(value))?;
                quality = (value * 1000.0) as u32;
            }
            ("version", version) if !matches!(version, "1.0.0" | "0.0.1" | "0.0.4") => return None,
            _ => {}
        }
    }
    Some((kind, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_openmetrics_and_all_others_the_plain_text() {
        let new = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [new, "application/openmetrics-text", "Application/OpenMetrics-Text; q=0.5, text/plain; q=0.5"] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html,*/*;q=0.8",
            "text/plain",
            "application/openmetrics-text;q=0",
            ",;,=;q=",
            "\u{1}",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;version=9.0.0",
            "application/openmetrics-text;q=nan",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=5",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
        ] {
            assert_eq!(Format::wanted(accept), Format::Plain, "{accept}");
        }
    }
}
