//! Frames as Linux 6 sends them into a veth whose peer offers checksum offload, read from a packet socket.

/// A UDP datagram "weft!" from 10.0.0.1 to 10.0.0.2 port 9.
pub(crate) const UDP_V4: &str = "020000000002020000000001\
    0800450000\
    2111e84000401114e20a0000010a00000293800009000d14217765667421";

/// A TCP segment "hello" from 10.0.0.1 to 10.0.0.2 port 7, with time stamps.
pub(crate) const TCP_V4: &str = "020000000002020000000001\
    08004500003956514000\
    4006d06b0a0000010a000002cc500007d91709ebdba2b13f8018003f142e00000101080a9df1915706c609bd68656c6c6f";

/// A UDP datagram "weft!" from fd00::1 to fd00::2 port 9.
pub(crate) const UDP_V6: &str = "020000000002020000000001\
    86dd600b8739000d1140fd000000000000000000000000000001fd000000000000000000000000000002\
    9f650009000dfa227765667421";

/// A TCP segment "hello" from fd00::1 to fd00::2 port 7, with time stamps.
pub(crate) const TCP_V6: &str = "020000000002020000000001\
    86dd60017cef00250640fd000000000000000000000000000001fd000000000000000000000000000002\
    db680007dc308c017de49c7680180040fa2f00000101080a9cbc9a11e1dca94c68656c6c6f";

/// An ARP request of 10.0.0.1 for 10.0.0.2.
pub(crate) const ARP: &str = "ffffffffffff020000000001\
    080600010800060400010200000000010a0000010000000000000a000002";

/// The octets of a frame above.
pub(crate) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16).expect("hexadecimal"))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
