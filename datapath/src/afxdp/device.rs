//! A network interface as its ioctls show it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::error::{Failure, Step};

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// A network interface of the calling thread's network namespace.
///
/// Everything is asked through a socket and not in `/sys/class/net`, which shows the namespace of whoever mounted it.
#[derive(Debug)]
pub(super) struct Device {
    name: String,
    index: u32,
    socket: OwnedFd,
}

impl Device {
    /// Finds an interface by its name.
    ///
    /// # Errors
    /// `ENODEV` if there is none; those of socket(2).
    pub(super) fn find(name: &str) -> Result<Self, Failure> {
        let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)
            .step("opening a socket for interface requests")?;
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENODEV)).step("finding the interface");
        }
        let index = netdevice::name_to_index(&socket, name).step("finding the interface")?;
        Ok(Self {
            name: name.to_owned(),
            index,
            socket,
        })
    }

    /// The interface's index.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// The interface's MTU in bytes.
    ///
    /// # Errors
    /// Those of netdevice(7).
    pub(super) fn mtu(&self) -> Result<u32, Failure> {
        let mut request = self.request();
        // SAFETY: SIOCGIFMTU reads the name and writes `ifru_mtu`.
        unsafe { self.ioctl(libc::SIOCGIFMTU, &mut request) }.step("reading the MTU")?;
        // SAFETY: the member that the call above wrote; any bits are an integer.
        Ok(unsafe { request.ifr_ifru.ifru_mtu }.try_into().unwrap_or(0))
    }

    /// The driver's name, such as "veth"; empty for the few devices without one, such as "lo".
    pub(super) fn driver(&self) -> String {
        // struct ethtool_drvinfo: command, driver[32], and further texts.
        let mut words = vec![0; 196 / 4];
        words[0] = ETHTOOL_GDRVINFO;
        match self.ethtool(&mut words) {
            Ok(()) => text(&words[1..9]),
            Err(_) => String::new(),
        }
    }

    /// How many receive queues are in use.
    pub(super) fn receive_queues(&self) -> u32 {
        // struct ethtool_channels: command, four maxima, then counts: receive, transmit, other, combined.
        let mut words = vec![0; 9];
        words[0] = ETHTOOL_GCHANNELS;
        if self.ethtool(&mut words).is_ok() {
            return (words[5] + words[8]).max(1);
        }
        self.queues_in_sysfs().unwrap_or(1)
    }

    /// An ethtool request (linux/ethtool.h) of any length; the first word is the command.
    ///
    /// # Errors
    /// Those of the driver, usually `EOPNOTSUPP`.
    pub(super) fn ethtool(&self, words: &mut [u32]) -> io::Result<()> {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: `ifru_data` points to the words of an ethtool request, which the callers in this folder size as the
        // command in the first word demands, and which are exclusively borrowed for the call.
        unsafe { self.ioctl(libc::SIOCETHTOOL, &mut request) }
    }

    /// Counts the queues in `/sys/class/net`, if what is there is this interface.
    fn queues_in_sysfs(&self) -> Option<u32> {
        let folder = std::path::Path::new("/sys/class/net").join(&self.name);
        let index = std::fs::read_to_string(folder.join("ifindex")).ok()?;
        if index.trim().parse() != Ok(self.index) {
            return None;
        }
        let queues = std::fs::read_dir(folder.join("queues"))
            .ok()?
            .filter_map(Result::ok);
        let receiving =
            queues.filter(|queue| queue.file_name().as_encoded_bytes().starts_with(b"rx-"));
        Some(receiving.count() as u32).filter(|count| *count > 0)
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: `ifreq` is integers, arrays of them and a pointer; all zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The name is shorter than the field (`find`), so a zero terminates it.
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }

    /// # Safety
    /// `code` is an interface request that touches nothing but `request` and what it points to, both valid for it.
    unsafe fn ioctl(&self, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: passed on from the caller.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), code as _, request) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// The text in a zero-terminated field, given as words.
pub(super) fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
