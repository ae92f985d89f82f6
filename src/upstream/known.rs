//! Configured servers become servers with a state, one each, however many groups they stand in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::datagrams::Datagrams;
use super::dial::Dial;
use super::hosts::{Bootstrap, Lookup};
use super::link::Link;
use super::pool::Pool;
use super::race::Remote;
use super::server::{Host, Secure, Server};
use super::trust::Authorities;
use super::{Ask, Settings, UpstreamError, system};
use crate::name::Name;
use crate::wire::{CLASS_IN, rtype};

/// Connections over TCP to a bootstrap server.
const FEW: usize = 4;

/// Servers made so far.
pub(super) struct Known<'a> {
    settings: &'a Settings,
    own: &'a [SocketAddr],
    datagrams: Datagrams,
    all: Vec<Arc<Remote>>,
    by_server: HashMap<Server, Arc<Remote>>,
    /// Read and made when the first server needs them.
    authorities: Option<Authorities>,
    bootstrap: Option<Bootstrap>,
}

impl<'a> Known<'a> {
    /// None yet; `own` are our listen addresses.
    pub(super) fn new(settings: &'a Settings, own: &'a [SocketAddr]) -> Result<Self, UpstreamError> {
        if let Some(address) = settings.bootstrap.iter().find(|address| system::is_own(**address, own)) {
            return Err(UpstreamError::Ourselves(*address));
        }
        let authorities = settings.ca_file.as_deref().map(|path| Authorities::read(Some(path))).transpose()?;
        Ok(Self {
            settings,
            own,
            datagrams: Datagrams::new(),
            all: Vec::new(),
            by_server: HashMap::new(),
            authorities,
            bootstrap: None,
        })
    }

    /// All of them, in the order they came, and the way to those that are asked over UDP.
    pub(super) fn finish(self) -> (Vec<Arc<Remote>>, Datagrams) {
        (self.all, self.datagrams)
    }

    /// The remotes of one list of servers, `system` replaced by what it stands for.
    pub(super) fn group(
        &mut self,
        servers: &[Server],
        zone: Option<&Name>,
    ) -> Result<Arc<[Arc<Remote>]>, UpstreamError> {
        let mut group: Vec<Arc<Remote>> = Vec::new();
        for server in servers {
            let concrete = match (server, server.address()) {
                (Server::System, _) => system::servers(self.own)?,
                (_, Some(address)) if system::is_own(address, self.own) => {
                    return Err(UpstreamError::Ourselves(address));
                }
                _ => vec![server.clone()],
            };
            for server in concrete {
                let remote = self.remote(server, zone)?;
                if !group.iter().any(|known| Arc::ptr_eq(known, &remote)) {
                    group.push(remote);
                }
            }
        }
        if group.is_empty() { Err(UpstreamError::NoServers(zone.cloned())) } else { Ok(group.into()) }
    }

    /// The remote for a server, made on first use.
    fn remote(&mut self, server: Server, zone: Option<&Name>) -> Result<Arc<Remote>, UpstreamError> {
        if let Some(remote) = self.by_server.get(&server) {
            return Ok(Arc::clone(remote));
        }
        let link = match &server {
            Server::System => return Err(UpstreamError::NoServers(zone.cloned())),
            Server::Udp(address) => {
                let pool = Pool::new(Dial::plain(*address), self.settings.connections);
                Link::datagrams(*address, &self.datagrams, self.settings.mix_case, pool)
            }
            Server::Tcp(address) => Link::streams(Pool::new(Dial::plain(*address), self.settings.connections), false),
            Server::Secure(secure) => {
                let dial = self.secure(secure)?;
                Link::streams(Pool::new(dial, self.settings.connections), true)
            }
        };
        let remote = Arc::new(Remote::new(link, &server, probe(zone)));
        self.all.push(Arc::clone(&remote));
        self.by_server.insert(server, Arc::clone(&remote));
        Ok(remote)
    }

    /// The way to an encrypted server.
    fn secure(&mut self, secure: &Secure) -> Result<Dial, UpstreamError> {
        let lookup = match &secure.host {
            Host::Address(_) => None,
            Host::Name(name) => {
                let bootstrap = self.bootstrap().map_err(|reason| UpstreamError::Bootstrap {
                    server: secure.to_string(),
                    reason: Box::new(reason),
                })?;
                Some(Arc::new(Lookup::new(name.clone(), bootstrap)))
            }
        };
        if self.authorities.is_none() {
            self.authorities = Some(Authorities::read(None)?);
        }
        let Some(authorities) = &self.authorities else { return Err(UpstreamError::NoServers(None)) };
        Dial::secure(secure, authorities, lookup, self.own)
    }

    /// Who knows addresses. They are nobody's upstream servers: their state is their own.
    fn bootstrap(&mut self) -> Result<Bootstrap, UpstreamError> {
        if let Some(bootstrap) = &self.bootstrap {
            return Ok(bootstrap.clone());
        }
        let servers = match self.settings.bootstrap.as_slice() {
            [] => system::servers(self.own)?,
            addresses => addresses.iter().copied().map(Server::Udp).collect(),
        };
        let remote = |server: Server| {
            let address = server.address()?;
            let pool = Pool::new(Dial::plain(address), FEW);
            let link = Link::datagrams(address, &self.datagrams, self.settings.mix_case, pool);
            Some(Arc::new(Remote::new(link, &server, probe(None))))
        };
        let bootstrap = Bootstrap { servers: servers.into_iter().filter_map(remote).collect() };
        self.bootstrap = Some(bootstrap.clone());
        Ok(bootstrap)
    }
}

/// What a server is asked while it is aside: something that each one knows, which says nothing of anybody.
fn probe(zone: Option<&Name>) -> Ask {
    let (name, qtype) = match zone {
        Some(zone) => (zone.clone(), rtype::SOA),
        None => (Name::root(), rtype::NS),
    };
    Ask { name, qtype, qclass: CLASS_IN, dnssec_ok: false, checking_disabled: false }
}
