//! Socket addresses and the "which address was asked" control messages (ip(7), ipv6(7)).
#![expect(unsafe_code, reason = "the kernel's structures are read and written through raw pointers")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{c_int, in_pktinfo, in6_pktinfo, msghdr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use socket2::Socket;

/// The address of ours that a datagram was sent to, and so the one to answer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// The interface, which matters for link-local addresses only.
    interface: u32,
}

/// Room for one control message, aligned as `cmsghdr` wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Control(pub [u8; CONTROL]);

/// More than `CMSG_SPACE(size_of::<in6_pktinfo>())`, which is 40.
pub const CONTROL: usize = 64;

/// Makes datagrams say which address they were sent to.
pub fn ask_for_destination(socket: &Socket, v6: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let (level, option) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
    let on: c_int = 1;
    // SAFETY: the option takes an int, whose address and size are given; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size_of::<c_int>() as socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an address the kernel has filled in; `None` for families that are not IP.
pub fn from_kernel(storage: &sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: sockaddr_storage is large and aligned enough for every family's address, and
            // any bytes are a valid sockaddr_in.
            let v4 = unsafe { *(&raw const *storage).cast::<sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { *(&raw const *storage).cast::<sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Reads the destination of a received datagram from its control messages.
///
/// # Safety
/// `header` is as recvmsg or recvmmsg left it, and its control buffer is still alive.
pub unsafe fn destination(header: &msghdr) -> Option<Source> {
    // SAFETY: the caller vouches for the header; the CMSG functions stay within msg_controllen.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: in_pktinfo = libc::CMSG_DATA(message).cast::<in_pktinfo>().read_unaligned();
                    let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into();
                    return Some(Source { address, interface: 0 });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: in6_pktinfo = libc::CMSG_DATA(message).cast::<in6_pktinfo>().read_unaligned();
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    // Forcing an interface would break asymmetric routes; link-local needs it.
                    let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                    return Some(Source { address: address.into(), interface: interface as u32 });
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// Writes the control message that makes the kernel send from `source`; gives its length.
pub fn write_source(source: Source, control: &mut Control) -> usize {
    // SAFETY: an all-zero msghdr is valid; it describes `control`, which is large enough for one
    // message of either kind and aligned for its header, so CMSG_FIRSTHDR is not null and
    // CMSG_DATA has room for the payload written.
    unsafe {
        let mut header: msghdr = zeroed();
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        let message = libc::CMSG_FIRSTHDR(&header);
        match source.address {
            IpAddr::V4(address) => {
                let mut info: in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from(address).to_be();
                (*message).cmsg_level = libc::IPPROTO_IP;
                (*message).cmsg_type = libc::IP_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<in_pktinfo>() as u32) as _;
                libc::CMSG_DATA(message).cast::<in_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<in_pktinfo>() as u32) as usize
            }
            IpAddr::V6(address) => {
                let mut info: in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = address.octets();
                info.ipi6_ifindex = source.interface as _;
                (*message).cmsg_level = libc::IPPROTO_IPV6;
                (*message).cmsg_type = libc::IPV6_PKTINFO;
                (*message).cmsg_len = libc::CMSG_LEN(size_of::<in6_pktinfo>() as u32) as _;
                libc::CMSG_DATA(message).cast::<in6_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<in6_pktinfo>() as u32) as usize
            }
        }
    }
}
