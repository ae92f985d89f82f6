//! Binding all addresses before anything is answered, so that every problem is told at once.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket as StdUdpSocket};

use crate::event::Transport;
use crate::net::{Passed, UdpSocket, bind_udp, listen_tcp};

use super::{Settings, TlsSettings};

/// How often another port is tried when port 0 was asked for and UDP has no luck with TCP's choice.
const PORT_TRIES: usize = 50;

/// Bound sockets, not answering yet.
#[derive(Debug)]
pub struct Bound {
    /// The sockets of each UDP worker.
    pub(super) udp: Vec<Vec<UdpSocket>>,
    /// The TCP listeners.
    pub(super) tcp: Vec<TcpListener>,
    /// The encrypted ones.
    pub(super) encrypted: Encrypted,
    /// Every address, with the port it got.
    pub(super) addresses: Vec<(Transport, SocketAddr)>,
}

/// Sockets of encrypted transports.
#[derive(Debug, Default)]
pub(super) struct Encrypted {
    pub dot: Vec<TcpListener>,
    pub doh: Vec<TcpListener>,
    pub doh3: Vec<StdUdpSocket>,
    pub doq: Vec<StdUdpSocket>,
}

/// An address that cannot be served.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// What was to be spoken there.
    pub transport: Transport,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, error } = self;
        let key = match transport {
            Transport::Udp | Transport::Tcp => "[server] listen".to_owned(),
            encrypted => format!("[tls] {}", encrypted.as_str()),
        };
        let transport = transport.as_str().to_uppercase();
        write!(f, "cannot listen on {address} ({transport}): {error}")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "; another program has it (`ss -lnp 'sport = :{}'` shows which): stop it, or change {key}",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "; ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit has it), or take a higher port in {key}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "; no interface of this machine has this address: change {key}")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

impl Bound {
    /// Binds every address in `settings`, for UDP once a worker and for TCP; or takes the sockets that
    /// the service manager `passed` in instead, if there are any. Those of `[tls]` are always bound here.
    ///
    /// # Errors
    /// All addresses that could not be bound.
    pub fn bind(settings: &Settings, passed: Vec<Passed>) -> Result<Self, Vec<BindError>> {
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut bound =
            Self { udp: Vec::new(), tcp: Vec::new(), encrypted: Encrypted::default(), addresses: Vec::new() };
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
        if let Some(tls) = &settings.tls {
            bound.encrypted(tls, &mut errors);
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }

    /// The addresses of `[tls]`; what cannot be bound is added to `errors`.
    fn encrypted(&mut self, settings: &TlsSettings, errors: &mut Vec<BindError>) {
        let Encrypted { dot, doh, doh3, doq } = &mut self.encrypted;
        let addresses = &mut self.addresses;
        let streams = [(Transport::Dot, &settings.dot, dot), (Transport::Doh, &settings.doh, doh)];
        for (transport, wanted, bound) in streams {
            let bind = |address| listen_tcp(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            bind_all(transport, wanted, bound, bind, addresses, errors);
        }
        let datagrams = [(Transport::Doh3, &settings.doh3, doh3), (Transport::Doq, &settings.doq, doq)];
        for (transport, wanted, bound) in datagrams {
            let bind = |address| bind_udp(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            bind_all(transport, wanted, bound, bind, addresses, errors);
        }
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

    /// Every address, and what is spoken there.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
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

/// Binds the addresses of one transport.
fn bind_all<S>(
    transport: Transport,
    wanted: &[SocketAddr],
    bound: &mut Vec<S>,
    bind: impl Fn(SocketAddr) -> io::Result<(SocketAddr, S)>,
    addresses: &mut Vec<(Transport, SocketAddr)>,
    errors: &mut Vec<BindError>,
) {
    for &address in wanted {
        match bind(address) {
            Ok((got, socket)) => {
                addresses.push((transport, got));
                bound.push(socket);
            }
            Err(error) => errors.push(BindError { address, transport, error }),
        }
    }
}
