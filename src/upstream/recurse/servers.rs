//! Connections of the recursor that give up in time, and count an error as none: hickory's pool asks the next server only
//! if a connection fails. It waits five seconds for a silent one, and takes the REFUSED of one that does not know the zone
//! for the answer of all.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsResponse, ResponseCode};
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, DnsResponseStream, FirstAnswer};
use hickory_resolver::{ConnectionProvider, PoolContext};
use tokio::time::timeout;

/// Makes such connections.
#[derive(Clone)]
pub(super) struct Servers {
    inner: TokioRuntimeProvider,
    patience: Duration,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Server {
    inner: DnsExchange<TokioRuntimeProvider>,
    patience: Duration,
}

impl Servers {
    /// That wait so long for one answer.
    pub(super) fn new(patience: Duration) -> Self {
        Self { inner: TokioRuntimeProvider::default(), patience }
    }
}

impl ConnectionProvider for Servers {
    type Conn = Server;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Server, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let (connecting, patience) = (self.inner.new_connection(ip, config, context)?, self.patience);
        Ok(Box::pin(async move {
            let inner = timeout(patience, connecting).await.unwrap_or(Err(NetError::Timeout))?;
            Ok(Server { inner, patience })
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.inner
    }
}

impl DnsHandle for Server {
    type Response = DnsResponseStream;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> DnsResponseStream {
        let (inner, patience) = (self.inner.clone(), self.patience);
        DnsResponseStream::from(Box::pin(async move {
            let asking = inner.send(request).first_answer();
            let response = timeout(patience, asking).await.unwrap_or(Err(NetError::Timeout))?;
            if is_answer(&response) { Ok(response) } else { Err(NetError::from(io::Error::other("not an answer"))) }
        }))
    }
}

/// It says something about the name, and not about the server.
fn is_answer(response: &DnsResponse) -> bool {
    matches!(response.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::YXDomain)
}
