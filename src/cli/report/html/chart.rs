//! Charts as SVG inside the page.

use maud::{Markup, html};

/// Size of the timeline.
const WIDTH: usize = 720;
const HEIGHT: usize = 120;
/// Room below it for the first and the last time.
const FOOT: usize = 16;
/// The most bars; more are put together.
const MAX_BARS: usize = 360;

/// Upright bars with their times, the first and the last one named.
pub(super) fn bars(bars: &[(String, u64)], number: impl Fn(u64) -> String) -> Markup {
    let each = bars.len().div_ceil(MAX_BARS).max(1);
    let bars: Vec<(&str, u64)> = bars
        .chunks(each)
        .filter_map(|chunk| Some((chunk.first()?.0.as_str(), chunk.iter().map(|(_, hits)| hits).sum())))
        .collect();
    let highest = bars.iter().map(|(_, hits)| *hits).max().unwrap_or(0);
    let step = WIDTH as f64 / bars.len().max(1) as f64;
    let gap = if step > 4.0 { 1.0 } else { 0.0 };
    html! {
        svg.timeline viewBox={ "0 0 " (WIDTH) " " (HEIGHT + FOOT) } role="img" {
            line x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            @for (at, (time, hits)) in bars.iter().enumerate().filter(|(_, (_, hits))| *hits > 0) {
                @let height = scaled(*hits, highest, HEIGHT);
                rect x=(px(at as f64 * step)) y=(px(HEIGHT as f64 - height)) width=(px(step - gap)) height=(px(height)) {
                    title { (time) ": " (number(*hits)) }
                }
            }
            @if let (Some((first, _)), Some((last, _))) = (bars.first(), bars.last()) {
                text x="0" y=(HEIGHT + FOOT - 3) { (first) }
                text x=(WIDTH) y=(HEIGHT + FOOT - 3) text-anchor="end" { (last) }
            }
        }
    }
}

/// A bar beside a number.
pub(super) fn line(hits: u64, highest: u64) -> Markup {
    html! {
        svg.line viewBox="0 0 100 10" preserveAspectRatio="none" role="img" {
            rect x="0" y="0" height="10" width=(px(scaled(hits, highest, 100))) {}
        }
    }
}

/// A height in proportion; what is not nothing can be seen.
fn scaled(hits: u64, highest: u64, height: usize) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    (hits as f64 * height as f64 / highest.max(1) as f64).max(1.0)
}

/// Hundredths are fine enough, and the same everywhere.
fn px(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_scaled_to_the_highest_and_put_together_when_there_are_too_many() {
        let few = bars(&[("a".into(), 1), ("b".into(), 0), ("c".into(), 4)], |hits| hits.to_string()).into_string();
        assert_eq!(few.matches("<rect").count(), 2);
        assert!(
            few.contains("height=\"120.00\"")
                && few.contains("height=\"30.00\"")
                && few.contains("<title>c: 4</title>"),
            "{few}"
        );
        let many: Vec<(String, u64)> = (0..1000).map(|at| (format!("t{at}"), 1)).collect();
        let many = bars(&many, |hits| hits.to_string()).into_string();
        assert_eq!(many.matches("<rect").count(), 334);
        assert!(many.contains("<title>t999: 1</title>"), "what is left over is a bar, too");
    }
}
