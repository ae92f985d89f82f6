//! Binding all addresses before anything is answered, so that every problem is told at once.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::event::Transport;
use crate::net::{Passed, UdpSocket, listen_tcp};

use super::Settings;

/// How often another port is tried when port 0 was asked for and UDP has no luck with TCP's choice.
const PORT_TRIES: usize = 50;

/// Bound sockets, not answering yet.
#[derive(Debug)]
pub struct Bound {
    /// The sockets of each UDP worker.
    pub(super) udp: Vec<Vec<UdpSocket>>,
    /// The TCP listeners.
    pub(super) tcp: Vec<TcpListener>,
    /// Every address, with the port it got.
    pub(super) addresses: Vec<(Transport, SocketAddr)>,
}

/// An address that cannot be served.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, error } = self;
        let transport = transport.as_str().to_uppercase();
        write!(f, "cannot listen on {address} ({transport}): {error}")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program has it (`ss -lnp 'sport = :{}'` shows which): stop it, or change [server] listen",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit has it), or take a higher port in [server] listen",
            ),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("; no interface of this machine has this address: change [server] listen")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

impl Bound {
    /// Binds every address in `settings`, for UDP once a worker and for TCP; or takes the sockets that
    /// the service manager `passed` in instead, if there are any.
    ///
    /// # Errors
    /// All addresses that could not be bound.
    pub fn bind(settings: &Settings, passed: Vec<Passed>) -> Result<Self, Vec<BindError>> {
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut bound = Self { udp: Vec::new(), tcp: Vec::new(), addresses: Vec::new() };
        bound.udp.resize_with(workers, Vec::new);
        let mut errors = Vec::new();
        if passed.is_empty() {
            for &address in &settings.listen {
                if let Err(error) = bound.address(address) {
                    errors.push(error);
                }
            }
        } else {
            for socket in passed {
                if let Err(error) = bound.passed(socket) {
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }

    /// One configured address, with the same port for both transports.
    fn address(&mut self, address: SocketAddr) -> Result<(), BindError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        let fail = |transport| move |error| BindError { address, transport, error };
        let (tcp, address) = loop {
            tries -= 1;
            let tcp = listen_tcp(address).map_err(fail(Transport::Tcp))?;
            let got = tcp.local_addr().map_err(fail(Transport::Tcp))?;
            match UdpSocket::probe(got) {
                Ok(()) => break (tcp, got),
                Err(_) if tries > 0 => {}
                Err(error) => return Err(fail(Transport::Udp)(error)),
            }
        };
        for sockets in &mut self.udp {
            sockets.push(UdpSocket::bind(address).map_err(fail(Transport::Udp))?);
        }
        self.tcp.push(tcp);
        self.addresses.push((Transport::Udp, address));
        self.addresses.push((Transport::Tcp, address));
        Ok(())
    }

    /// One socket that was passed in; UDP workers share it.
    fn passed(&mut self, socket: Passed) -> Result<(), BindError> {
        match socket {
            Passed::Udp(socket) => {
                let address = socket.local();
                for sockets in &mut self.udp {
                    let fail = |error| BindError { address, transport: Transport::Udp, error };
                    sockets.push(socket.try_clone().map_err(fail)?);
                }
                self.addresses.push((Transport::Udp, address));
            }
            Passed::Tcp(listener) => {
                if let Ok(address) = listener.local_addr() {
                    self.addresses.push((Transport::Tcp, address));
                }
                self.tcp.push(listener);
            }
        }
        Ok(())
    }

    /// Our own addresses: no upstream must be one of them.
    pub fn socket_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|&(_, address)| address).collect()
    }

    /// The addresses by transport, for one line of log.
    pub fn summary(&self) -> String {
        let mut by_address: BTreeMap<SocketAddr, Vec<&str>> = BTreeMap::new();
        for (transport, address) in &self.addresses {
            by_address.entry(*address).or_default().push(transport.as_str());
        }
        let shown: Vec<_> =
            by_address.iter().map(|(address, transports)| format!("{address} ({})", transports.join(", "))).collect();
        shown.join(", ")
    }
}
