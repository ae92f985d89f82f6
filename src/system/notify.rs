//! systemd's notification protocol (`sd_notify(3)`) and its watchdog.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// How many bytes of a status line are sent: systemd shows one line of a terminal.
const MAX_STATUS: usize = 200;

/// Everything answers. After [`reloading`]: the reload is over, whatever came of it.
pub fn ready(status: &str) {
    notify(&[NotifyState::Status(&one_line(status)), NotifyState::Ready]);
}

/// A reload has begun; [`ready`] must follow. Carries the time systemd asks of `Type=notify-reload`.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        // Without the time systemd would take the reload for a failed one; without the message, for none.
        Err(error) => complain(&error),
    }
}

/// No new queries are taken; the process will end soon.
pub fn stopping() {
    notify(&[NotifyState::Status("stopping"), NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(&one_line(text))]);
}

/// Within which time systemd wants to hear that the process is alive, if at all.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// Tells systemd twice within its limit that the process is alive, as long as `alive` says so; ends at once if
/// there is no watchdog. When `alive` says no, nothing is sent, and systemd restarts the service.
pub async fn keep_alive(mut alive: impl FnMut() -> bool) {
    let Some(limit) = watchdog() else { return };
    let mut ticks = interval((limit / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if alive() {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Sends to systemd, if it listens. Serving goes on when that fails.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        complain(&error);
    }
}

/// Says once that systemd cannot be told: the reason will be the same next time.
fn complain(error: &std::io::Error) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!("cannot notify the service manager through NOTIFY_SOCKET: {error}");
    }
}

/// Without line breaks, which would begin another message to systemd.
fn one_line(text: &str) -> String {
    let fits = |&(at, c): &(usize, char)| at + c.len_utf8() <= MAX_STATUS;
    text.char_indices().take_while(fits).map(|(_, c)| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// Runs in a process of its own, started by the test below.
    #[tokio::test]
    #[ignore = "needs a service manager"]
    async fn talks_to_the_service_manager() {
        ready("serving 1 list\nREADY=0");
        reloading();
        stopping();
        let mut asked = 0;
        let alive = || {
            asked += 1;
            asked % 2 == 0
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), keep_alive(alive)).await;
    }

    #[test]
    fn the_service_manager_hears_each_state() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--ignored", "system::notify::tests::talks_to_the_service_manager"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .expect("started");
        let mut buffer = [0; 1024];
        let mut hear = || {
            let len = manager.recv(&mut buffer).expect("a message");
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        };
        assert_eq!(hear(), "STATUS=serving 1 list READY=0\nREADY=1\n");
        let reload = hear();
        let time = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the time of the reload");
        assert!(time.trim_end().parse::<u64>().is_ok_and(|usec| usec > 0), "{time}");
        assert_eq!(hear(), "STATUS=stopping\nSTOPPING=1\n");
        assert_eq!(hear(), "WATCHDOG=1\n");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(one_line("a\r\nb\0"), "a  b ");
        let long = "я".repeat(500);
        assert_eq!(one_line(&long), "я".repeat(MAX_STATUS / 2));
        assert_eq!(one_line(&format!("x{long}")).len(), MAX_STATUS - 1);
    }
}
