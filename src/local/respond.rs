//! From hickory's answer to bytes: what its own listener would do, with our sizes and flags.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::server::{ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;

/// The largest UDP answer, and what our OPT says (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// The largest answer without EDNS (RFC 1035 section 4.2.1).
const PLAIN: u16 = 512;

/// Takes the answer instead of a socket.
#[derive(Clone)]
pub(super) struct Capture {
    udp: bool,
    below_wildcard: bool,
    bytes: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Capture {
    /// `below_wildcard`: a wildcard covers the query name, so it exists for every type. hickory's zones say NXDOMAIN
    /// where the wildcard has other types than the one asked for (RFC 4592 section 2.2.1 wants NODATA).
    pub(super) fn new(udp: bool, below_wildcard: bool) -> Self {
        Self { udp, below_wildcard, bytes: Arc::default() }
    }

    /// The answer, once there is one.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Encodes and keeps it.
    fn keep<'a, A, N, S, D>(&self, response: MessageResponse<'_, 'a, A, N, S, D>) -> Result<ResponseInfo, NetError>
    where
        A: Iterator<Item = &'a Record> + Send + 'a,
        N: Iterator<Item = &'a Record> + Send + 'a,
        S: Iterator<Item = &'a Record> + Send + 'a,
        D: Iterator<Item = &'a Record> + Send + 'a,
    {
        let opt = response.edns().map(|opt| {
            let mut own = opt.clone();
            own.set_max_payload(PAYLOAD);
            own
        });
        let limit = match response.edns() {
            _ if !self.udp => u16::MAX,
            Some(theirs) => theirs.max_payload().clamp(PLAIN, PAYLOAD),
            None => PLAIN,
        };
        // Bound anew after `opt`, which it borrows from here on.
        let mut response = response;
        if let Some(opt) = &opt {
            response.set_edns(opt);
        }
        let metadata = response.metadata_mut();
        metadata.recursion_available = true;
        if self.below_wildcard && metadata.response_code == ResponseCode::NXDomain {
            metadata.response_code = ResponseCode::NoError;
        }
        let mut bytes = Vec::with_capacity(usize::from(PLAIN));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let info = response.destructive_emit(&mut encoder)?;
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        Ok(info)
    }
}

impl ResponseHandler for Capture {
    fn send_response<'a, 'life0, 'life1, 'async_trait>(
        &'life0 mut self,
        response: MessageResponse<
            'life1,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Pin<Box<dyn Future<Output = Result<ResponseInfo, NetError>> + Send + 'async_trait>>
    where
        'a: 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(self.keep(response)))
    }
}
