//! `report`: what authorities and analysts are given.

mod data;

use super::Exit;
use super::args::ReportArgs;

/// Runs the verb.
pub(super) fn run(_args: &ReportArgs) -> Exit {
    Exit::Failed
}
