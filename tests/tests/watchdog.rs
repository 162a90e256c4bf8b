//! What the agent tells its service manager, and what happens when a poll thread stands still.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weft_tests::{Answer, Host, until};

/// How long the service manager waits for a sign of life.
const WATCHDOG: Duration = Duration::from_secs(4);

/// A service manager with an agent that is killed when the test is over.
struct Manager {
    socket: UnixDatagram,
    agent: Child,
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Manager {
    fn start(host: &Host) -> Self {
        let path = host.state().with_file_name("notify.sock");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let agent = host
            .agent_command(host.state(), &host.socket())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .spawn()
            .expect("the agent starts");
        Self { socket, agent }
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut message = [0; 4096];
        let length = self
            .socket
            .recv(&mut message)
            .expect("a message within 30 s");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// Reads messages up to one with this line. Returns all before it.
    fn waits_for(&self, line: &str) -> Vec<String> {
        let start = Instant::now();
        let mut before = Vec::new();
        loop {
            let message = self.hears();
            if message.lines().any(|one| one == line) {
                return before;
            }
            before.push(message);
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "no {line}: {before:#?}"
            );
        }
    }

    /// Stops one thread of the agent, and no other, until the result is dropped: as a debugger does.
    fn stall(&self, thread: &str) -> Stalled {
        let pid = self.agent.id();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the agent runs");
        let named = |task: &std::path::PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
        };
        let mut tasks = tasks.map(|task| task.expect("it is readable").path());
        let task = tasks
            .find(named)
            .unwrap_or_else(|| panic!("no thread {thread}"));
        let number = task
            .file_name()
            .expect("a number")
            .to_string_lossy()
            .into_owned();
        // ptrace(2): SEIZE attaches without stopping, INTERRUPT stops. Both end with the process that attached.
        let script = "
            my ($call, $task) = @ARGV;
            syscall($call, 0x4206, $task + 0, 0, 0) == 0 or die \"seize: $!\";
            syscall($call, 0x4207, $task + 0, 0, 0) == 0 or die \"interrupt: $!\";
            $| = 1; print \"stopped\\n\"; <STDIN>";
        let call = match std::env::consts::ARCH {
            "x86_64" => "101",
            "aarch64" => "117",
            other => panic!("the number of ptrace on {other} is not known here"),
        };
        let mut debugger = Command::new("perl")
            .args(["-e", script, call, &number])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("running perl");
        let mut said = [0; 8];
        let output = debugger.stdout.as_mut().expect("its output is a pipe");
        std::io::Read::read_exact(output, &mut said).expect("the thread can be stopped");
        Stalled(debugger)
    }
}

/// A thread that stands still.
struct Stalled(Child);

impl Drop for Stalled {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(host: &Host, path: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "--fail-with-body",
        "--max-time",
        "20",
        "--unix-socket",
    ])
    .arg(host.socket())
    .arg(format!("http://localhost{path}"));
    Answer::of(&mut curl)
}

#[test]
fn the_service_manager_is_told_when_everything_is_in_force() {
    let host = Host::asleep(None);
    let manager = Manager::start(&host);
    manager.waits_for("READY=1");
    host.does("vswitch add vSwitch1");
    host.does("portgroup add Lab --vswitch vSwitch1");
    let (one, two) = (host.vm("one", "Lab"), host.vm("two", "Lab"));
    assert!(one.reaches(&two));
    drop(manager);

    let manager = Manager::start(&host);
    let before = manager.waits_for("READY=1");
    assert_eq!(before, ["STATUS=restoring 2 ports\n"]);
    // Nothing is waited for any more.
    assert_eq!(host.weft("status").code, Some(0));
    assert_eq!(host.port("one").0, "up");
    assert!(one.reaches(&two));
    manager.waits_for("STATUS=2 of 2 ports up, 0 of 0 uplinks up");
    let fed = Instant::now();
    for _ in 0..4 {
        manager.waits_for("WATCHDOG=1");
    }
    assert!(fed.elapsed() < WATCHDOG * 4);
    let pid = manager.agent.id();
    Answer::of(Command::new("kill").arg(pid.to_string())).succeeds();
    manager.waits_for("STOPPING=1");
}

#[test]
fn a_poll_thread_that_stands_still_is_noticed() {
    let host = Host::asleep(None);
    let manager = Manager::start(&host);
    manager.waits_for("READY=1");
    assert_eq!(get(&host, "/livez").succeeds(), "ok\n");
    let stalled = manager.stall("weft-poll-0");
    manager.waits_for("STATUS=poll thread 0 is stalled");
    let status = host.shows("status");
    assert!(
        status["threads"][0]["stalledSeconds"].as_u64() >= Some(5),
        "{status}"
    );
    let problem = &status["problems"][0];
    assert_eq!(problem["object"]["kind"], "host");
    let reason = problem["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("poll thread 0 has not moved for "),
        "{reason}"
    );
    let events = host.shows("events");
    let events = events.as_array().expect("events are a list");
    let told = events.iter().any(|event| event["kind"] == "threadStalled");
    assert!(told, "{events:#?}");
    let answer = get(&host, "/livez");
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    assert!(answer.stdout.contains("poll thread 0"), "{answer:#?}");
    let metrics = get(&host, "/metrics").succeeds();
    let line = "weft_poll_stalled{host=\"esxi01\",thread=\"0\"} 1";
    assert!(
        metrics.lines().any(|one| one.starts_with(line)),
        "{metrics}"
    );

    // What was sent before is read first; then nothing feeds the watchdog for as long as it would wait.
    let since = Instant::now();
    while since.elapsed() < WATCHDOG {
        assert_eq!(manager.hears(), "STATUS=poll thread 0 is stalled\n");
    }
    drop(stalled);
    manager.waits_for("WATCHDOG=1");
    until("the agent is alive again", || {
        get(&host, "/livez").code == Some(0)
    });
    let status = host.shows("status");
    assert_eq!(status["threads"][0].get("stalledSeconds"), None);
    assert_eq!(
        status["problems"].as_array().map(Vec::len),
        Some(0),
        "{status}"
    );
}
