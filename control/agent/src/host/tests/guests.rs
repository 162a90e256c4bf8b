//! VMs that come, leave and fail, as the log tells of them.

use std::cell::RefCell;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use weft_datapath::testing::{Guest, GuestOptions};
use weft_model::Change;

use super::super::guests::News;
use super::{Bench, add_port, eventually};

/// A host with a port for a VM, whose hypervisor listens on the socket.
fn with_a_vm() -> (Bench, PathBuf, UnixListener) {
    let bench = Bench::new(&[]);
    let socket = bench.directory.path().join("MyVM1.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bench.add("vswitches: [{name: vSwitch1, portgroups: [{name: Lab}]}]");
    bench
        .change(&add_port(&format!(
            "{{name: MyVM1, portgroup: Lab, vhostUser: {{socket: {}}}}}",
            socket.display()
        )))
        .unwrap();
    (bench, socket, listener)
}

#[test]
fn a_guest_that_comes_leaves_or_fails_is_told_once() {
    let (bench, socket, listener) = with_a_vm();
    // Why the port is down: which of the reasons it is that the look finds depends on when the agent connects again.
    let next = || {
        let news = RefCell::new(Vec::new());
        eventually("there are news", || {
            news.borrow_mut().extend(bench.host().news_of_guests());
            !news.borrow().is_empty()
        });
        let mut news = news.into_inner();
        assert_eq!(bench.host().news_of_guests(), [], "{news:?}");
        assert_eq!(news.len(), 1, "{news:?}");
        let News { port, on, reason } = news.remove(0);
        assert_eq!((port.as_str(), on), ("MyVM1", socket.display().to_string()));
        reason.unwrap_or_default()
    };
    let accept = || listener.accept().unwrap().0;

    let waiting = accept();
    assert_eq!(bench.host().news_of_guests(), [], "nobody has come yet");
    let guest = Guest::new(waiting, GuestOptions::default());
    assert_eq!(next(), "");
    drop(guest);
    assert!(next().contains("front-end"));
    let guest = Guest::new(accept(), GuestOptions::default());
    assert_eq!(next(), "");
    drop(guest);
    let again = Guest::new(accept(), GuestOptions::default());
    eventually("the port is up", || bench.is_up("MyVM1"));
    assert_eq!(next(), "", "another one, that came between two looks");
    drop(again);
    assert!(next().contains("front-end"));
    accept().write_all(&[0xff; 64]).unwrap();
    assert!(next().starts_with("the front-end sent what the protocol does not allow"));
}

#[test]
fn a_port_that_is_deleted_is_no_news() {
    let (bench, _, listener) = with_a_vm();
    let _guest = Guest::new(listener.accept().unwrap().0, GuestOptions::default());
    eventually("it is up", || !bench.host().news_of_guests().is_empty());
    bench
        .change(&Change::DelPort("MyVM1".parse().unwrap()))
        .unwrap();
    assert_eq!(bench.host().news_of_guests(), []);
    assert!(bench.host().guests().is_empty());
}
