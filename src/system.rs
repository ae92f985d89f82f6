//! What the host tells a service and wants to hear from it: signals, systemd's notifications, its watchdog,
//! sockets it passes in. Outside systemd all of this does nothing.

mod notify;

pub use notify::{keep_alive, ready, reloading, status, stopping, watchdog};

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT: finish what is under way and end.
    Terminate,
    /// SIGHUP: look at the configuration and every list again.
    Reload,
}

/// The signals of this process. From [`Self::listen`] on they no longer end it.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Takes the signals over; inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Several of a kind that come at once count as one; ending goes before reloading.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.interrupt.recv() => Request::Terminate,
            _ = self.hangup.recv() => Request::Reload,
        }
    }
}

/// A socket that was open when the process began. Not owned yet: `net` makes a socket of it, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedSocket {
    /// Its number, close-on-exec already set.
    pub fd: RawFd,
    /// `FileDescriptorName=` of its socket unit; `unknown` if it has none.
    pub name: String,
}

/// systemd says it passed sockets, but says it wrongly.
#[derive(Debug)]
pub struct ActivationError(io::Error);

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the sockets announced in LISTEN_FDS cannot be used: {}; start qalqan through its socket unit, or unset \
             LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES",
            self.0
        )
    }
}

impl std::error::Error for ActivationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The sockets systemd passed in (`sd_listen_fds_with_names(3)`), none outside systemd. They are the caller's
/// from then on, so ask once.
///
/// # Errors
/// Numbers or names make no sense, or a descriptor is not open.
pub fn activation_fds() -> Result<Vec<PassedSocket>, ActivationError> {
    let sockets = sd_notify::listen_fds_with_names().map_err(ActivationError)?;
    Ok(sockets.map(|(fd, name)| PassedSocket { fd, name }).collect())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn signals_become_requests() {
        let mut signals = Signals::listen().expect("signals");
        let pid = std::process::id().to_string();
        let send = |signal: &str| {
            let sent = Command::new("kill").args([signal, &pid]).status().expect("kill(1)");
            assert!(sent.success());
        };
        send("-HUP");
        assert_eq!(signals.next().await, Request::Reload);
        send("-TERM");
        assert_eq!(signals.next().await, Request::Terminate);
        send("-INT");
        assert_eq!(signals.next().await, Request::Terminate);
    }

    /// Runs in a process of its own, started by the test below.
    #[test]
    #[ignore = "needs sockets passed in"]
    fn prints_passed_sockets() {
        eprintln!(
            "passed: {:?}",
            activation_fds().map(|all| all.into_iter().map(|s| (s.fd, s.name)).collect::<Vec<_>>())
        );
    }

    /// What [`prints_passed_sockets`] says with these variables set and its standard input passed as socket 3.
    fn passed(variables: &str) -> String {
        let script =
            format!("{variables}; exec \"$0\" --exact --ignored --nocapture system::tests::prints_passed_sockets 3<&0");
        let test = std::env::current_exe().expect("this program");
        let run = Command::new("sh").arg("-c").arg(script).arg(test).stdin(Stdio::null()).output().expect("sh");
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        said.lines().find_map(|line| line.strip_prefix("passed: ")).unwrap_or(&said).to_owned()
    }

    #[test]
    fn passed_sockets_are_found_by_number_and_name() {
        assert_eq!(passed("export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=dns"), "Ok([(3, \"dns\")])");
        assert_eq!(passed("export LISTEN_PID=1 LISTEN_FDS=1"), "Ok([])", "meant for another process");
        assert_eq!(passed("unset LISTEN_PID LISTEN_FDS"), "Ok([])");
        for nonsense in ["LISTEN_FDS=one", "LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "LISTEN_FDS=4294967295"] {
            let said = passed(&format!("export LISTEN_PID=$$ {nonsense}"));
            assert!(said.starts_with("Err(ActivationError("), "{nonsense}: {said}");
        }
    }
}
