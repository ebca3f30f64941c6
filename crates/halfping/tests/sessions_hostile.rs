//! Hostile clients of sessions: each meets a clear error or a bound, and no other client notices.
//!
//! The cases that lines of a file can express are in `conformance/conversations`; those here need a
//! million of something, or time, or memory.

// The helpers here are tests too; clippy sees only functions marked so.
#![allow(clippy::unwrap_used)]

#[path = "server/common/mod.rs"]
mod common;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use common::raw::{Connection, DEADLINE, Random, request, seed};
use common::session::{Mirrors, Phase, Session, Told};
use common::{Running, serve_limited};
use serde_json::{Value, json};

/// Lock by which these tests take turns, as they measure the memory of this process.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // A failed test has reported itself; the others go on.
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A client that behaves, on a session of its own, while others do not.
struct Bystander {
    session: Session,
    writes: u64,
}

impl Bystander {
    fn new(server: &Running) -> Bystander {
        let mut session = Session::open(server.address, "/bystander?watch");
        assert_eq!(session.state()["set"], json!([[0, "gone"]]));
        Bystander { session, writes: 0 }
    }

    /// Writes, and waits until it is told of it.
    #[track_caller]
    fn is_well(&mut self) {
        self.writes += 1;
        let answer = self.session.ask(json!({ "put": "/bystander", "value": self.writes }));
        assert!(matches!(answer["status"].as_u64(), Some(200 | 201)), "{answer}");
        let state = self.session.state();
        assert_eq!(state["set"], json!([[0, "snapshot", self.writes]]), "{state}");
    }
}

/// Waits until the server has this many sessions and links.
#[track_caller]
fn until(server: &Running, sessions: u64, links: u64) {
    let until = Instant::now() + DEADLINE;
    loop {
        let now = (server.metric("halfping_sessions"), server.metric("halfping_links"));
        if now == (sessions, links) {
            return;
        }
        assert!(
            Instant::now() < until,
            "sessions and links are {now:?}, not {:?}",
            (sessions, links)
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Memory of this process in bytes, where the system tells.
fn memory() -> u64 {
    status("VmRSS:")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[track_caller]
fn check_growth(before: u64, bytes_max: u64) {
    let grown = memory().saturating_sub(before);
    assert!(grown < bytes_max, "memory grew by {grown} bytes; it may by {bytes_max}");
}

/// A client's frame, with a mask that changes nothing.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..65_536 => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// Sends bytes until all are sent or the other side takes no more for a while. Returns the number
/// that it took.
fn press(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    sent
}

#[test]
fn a_million_watches_in_a_second() {
    // PROTOCOL L13, O4
    const WATCHES: u64 = 1_000_000;
    let _turn = turn();
    // Pongs of the reading thread would come between the other thread's bytes.
    let server =
        serve_limited(|limits| (limits.links_per_connection, limits.ping_ms) = (20_000, 100_000));
    let mut bystander = Bystander::new(&server);
    bystander.is_well();
    let before = memory();

    let mut hostile = Session::open(server.address, "/");
    let stream = hostile.stream().try_clone().unwrap();
    let sending = thread::spawn(move || {
        for first in (0..WATCHES).step_by(1000) {
            let commands =
                (first..first + 1000).map(|id| json!({ "watch": id, "path": format!("/m/{id}") }));
            let text = Value::from_iter(commands).to_string();
            let mut stream = &stream;
            if stream.write_all(&frame(1, text.as_bytes())).is_err() {
                return;
            }
        }
        // The last command, so that the reader knows when all have been handled.
        let mut stream = &stream;
        drop(stream.write_all(&frame(1, br#"{"get":"/","ref":1}"#)));
    });
    // It reads everything while it sends: another test has a client that does not.
    let done = Arc::new(AtomicBool::new(false));
    let told_it_ended = Arc::clone(&done);
    let reading = thread::spawn(move || {
        let (mut refused, mut links, mut handled) = (0_u64, 0_u64, false);
        let code = loop {
            // Answers do not wait for state, so some of it may come after the last of them.
            if handled && links == 20_000 {
                break None;
            }
            match hostile.next_within(Duration::from_secs(60)) {
                Told::Message(message) if message["ref"] == 1 => handled = true,
                Told::Message(message) => match message.get("error") {
                    Some(problem) => {
                        assert_eq!(problem["status"], 429, "{message}");
                        refused += 1;
                    }
                    None => links += message["set"].as_array().map_or(0, Vec::len) as u64,
                },
                Told::Closed(code) => break Some(code),
                other => panic!("{other:?} after {refused} refusals"),
            }
        };
        told_it_ended.store(true, Ordering::Release);
        (code, refused, links)
    });
    while !done.load(Ordering::Acquire) && !reading.is_finished() {
        bystander.is_well();
    }
    let (code, refused, links) = reading.join().unwrap();
    sending.join().unwrap();
    // Either it was slowed down to its allowed rate, and had its commands refused one by one; or it
    // was closed.
    match code {
        None => assert_eq!((refused, links), (WATCHES - 20_000, 20_000)),
        Some(code) => assert_eq!(code, 4100, "after {refused} refusals"),
    }
    check_growth(before, 64 << 20);
    until(&server, 1, 1);
    bystander.is_well();
}

#[test]
fn a_client_that_never_reads_costs_no_more_than_one_that_does() {
    // PROTOCOL S3, L11
    const WRITES: u64 = 600;
    const VALUE_BYTES: usize = 200_000;
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let mut hostile = Session::open(server.address, "/big?watch");
    let mut talk = server.talk();
    let before = memory();
    for n in 0..WRITES {
        let filler = char::from(b'a' + (n % 26) as u8).to_string().repeat(VALUE_BYTES);
        talk.write(&[&format!("PUT /big {{\"n\":{n},\"filler\":\"{filler}\"}}")]);
    }
    check_growth(before, 32 << 20);
    bystander.is_well();
    // It was not closed for this. Now it reads: the bytes in the system's buffers, and then the
    // newest value.
    let mut mirrors = Mirrors::default();
    mirrors.open(0, Phase::Open);
    let mut bytes = 0;
    loop {
        let state = hostile.state();
        bytes += state.to_string().len();
        let synced = mirrors.take(&state);
        let value = &mirrors.views[&0].value;
        if synced && value.as_ref().is_some_and(|value| value["n"] == WRITES - 1) {
            break;
        }
    }
    let written = WRITES as usize * VALUE_BYTES;
    assert!(bytes < written / 4, "{bytes} bytes were kept for it, of {written}");
}

#[test]
fn a_client_that_is_merely_slow_is_not_closed() {
    // Its connection takes nothing, so that it does not get the pings. PROTOCOL L11
    let _turn = turn();
    let server = serve_limited(|limits| (limits.ping_ms, limits.silence_ms) = (50, 1_000));
    let mut bystander = Bystander::new(&server);
    let mut slow = Session::open(server.address, "/big?watch");
    let mut talk = server.talk();
    let write = |talk: &mut common::Talk, n: u32| {
        talk.write(&[&format!("PUT /big \"{n} {}\"", "x".repeat(500_000))]);
    };
    // The bystander is served between them.
    for n in 0..100 {
        write(&mut talk, n);
        bystander.is_well();
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        bystander.is_well();
        assert_eq!(server.metric("halfping_sessions"), 2);
    }
    write(&mut talk, 100);
    loop {
        let state = slow.state();
        let value = state["set"][0][2].as_str().unwrap_or_default();
        if value.starts_with("100 ") {
            break;
        }
    }
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_listened_to() {
    // An answer is made only when it can be sent. PROTOCOL S3
    const QUESTIONS: usize = 20_000;
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    server.write(&[&format!("PUT /big \"{}\"", "x".repeat(100_000))]);
    let mut hostile = Session::open(server.address, "/");
    let before = memory();
    let mut questions = Vec::new();
    for number in 0..QUESTIONS {
        questions.extend(frame(1, json!({ "get": "/big", "ref": number }).to_string().as_bytes()));
    }
    // The answers are two gigabytes, also as one array.
    let sent = press(hostile.stream(), &questions);
    check_growth(before, 32 << 20);
    bystander.is_well();
    // Its answers come in order, for as long as it now reads.
    let asked = (sent / (questions.len() / QUESTIONS)).min(200) as u64;
    for number in 0..asked / 2 {
        let answer = hostile.next();
        assert_eq!((&answer["ref"], &answer["status"]), (&json!(number), &json!(200)));
    }
    drop(hostile);

    let hostile = Session::open(server.address, "/");
    let all =
        Value::from_iter((0..QUESTIONS).map(|number| json!({ "get": "/big", "ref": number })));
    press(hostile.stream(), &frame(1, all.to_string().as_bytes()));
    bystander.is_well();
    check_growth(before, 48 << 20);
    drop(hostile);
    until(&server, 1, 1);
}

#[test]
fn a_message_of_nothing_but_refusals_costs_little_more_than_its_text() {
    // PROTOCOL L9, L13
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let bytes = 4_000_000;
    let wrong = format!("[{}1]", "1,".repeat(bytes / 2));
    let unknown = format!("[{}{{}}]", "{},".repeat(bytes / 3));
    let links = format!(r#"{{"unwatch":[{}1]}}"#, "1,".repeat(bytes / 2));
    let paths = format!(r#"{{"watch":[{}[1,"/a"]]}}"#, r#"[1,"/_a"],"#.repeat(bytes / 10));
    for text in [wrong, unknown, links, paths] {
        let text = frame(1, text.as_bytes());
        let hostile = Session::open(server.address, "/");
        let (before, handled) = (memory(), server.metric("halfping_commands_total"));
        // The system can tell the peak since this call. Short-lived memory counts as well.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        press(hostile.stream(), &text);
        let until_handled = Instant::now() + DEADLINE;
        while server.metric("halfping_commands_total") < handled + 100 {
            assert!(Instant::now() < until_handled, "the commands are not handled");
            bystander.is_well();
        }
        let grown = status("VmHWM:").saturating_sub(before);
        // The text, and at most a list of short values.
        assert!(grown < 64 << 20, "memory grew by {grown} bytes");
        drop(hostile);
        until(&server, 1, 1);
    }
}

#[test]
fn what_takes_long_to_read_holds_nobody_up() {
    const THROWN: usize = 12;
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let over = Arc::new(AtomicBool::new(false));
    // Half a second of parsing each.
    let pointer = format!(r#"[{{"op":"add","path":"{}","value":1}}]"#, "/a".repeat(2_000_000));
    let deep = format!(r#"{{"ref":1,"patch":"/a","value":{pointer}}}"#);
    let thrown = Arc::new(AtomicUsize::new(0));
    let throwing: Vec<_> = (0..4)
        .map(|number| {
            let (over, thrown) = (Arc::clone(&over), Arc::clone(&thrown));
            let (pointer, deep, address) = (pointer.clone(), deep.clone(), server.address);
            thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    if number % 2 == 0 {
                        let mut connection = Connection::open(address);
                        connection.send(&request(&format!(
                            "PATCH /a\nContent-Type: application/json-patch+json\n\n{pointer}"
                        )));
                        assert_eq!(connection.answer(false).status, 414);
                    } else {
                        let mut session = Session::open(address, "/");
                        session.stream().write_all(&frame(1, deep.as_bytes())).unwrap();
                        let answer = session.next();
                        assert_eq!((&answer["ref"], &answer["status"]), (&json!(1), &json!(414)));
                    }
                    thrown.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    let until = Instant::now() + 2 * DEADLINE;
    let mut served = 0;
    while thrown.load(Ordering::Acquire) < THROWN {
        bystander.is_well();
        served += 1;
        assert!(Instant::now() < until, "{served} were served, and these are not refused");
    }
    over.store(true, Ordering::Release);
    throwing.into_iter().for_each(|thread| thread.join().unwrap());
    // Fewer than three each when these were parsed on the threads that serve requests; now more
    // than a hundred, also on a busy machine.
    assert!(served > 20 * THROWN, "{served} were served while {THROWN} were thrown");
}

#[cfg(target_os = "linux")]
#[test]
fn who_says_the_first_letter_and_no_more_is_not_looked_at_all_the_time() {
    // HTTP/2 begins with the same byte.
    let _turn = turn();
    let server = serve_limited(|_| {});
    let half: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(b"P").unwrap();
            stream
        })
        .collect();
    // Wait until the checks have become rare.
    thread::sleep(Duration::from_secs(1));
    let before = processor_ticks();
    thread::sleep(Duration::from_secs(2));
    let ticks = processor_ticks() - before;
    assert!(ticks < 20, "{ticks} hundredths of a second of processor time for nothing");
    drop(half);
    // Long before their silence would close them (PROTOCOL O3).
    let until = Instant::now() + Duration::from_secs(4);
    while server.metric("halfping_connections") > 1 {
        assert!(
            Instant::now() < until,
            "{} connections are left",
            server.metric("halfping_connections")
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Processor time of this process, in hundredths of a second.
#[cfg(target_os = "linux")]
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
    fields.take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_peer_that_vanished_is_forgotten() {
    // It answers no ping. PROTOCOL L11
    let _turn = turn();
    let server = serve_limited(|limits| (limits.ping_ms, limits.silence_ms) = (50, 300));
    let mut bystander = Bystander::new(&server);
    let vanished: Vec<Session> = (0..20)
        .map(|_| {
            let mut session = Session::open(server.address, "/a?watch");
            assert_eq!(session.state()["set"], json!([[0, "gone"]]));
            session
        })
        .collect();
    // A client that does not read answers no ping. The bystander does, whenever it waits.
    let until = Instant::now() + DEADLINE;
    while server.metric("halfping_sessions") > 1 {
        assert!(Instant::now() < until, "{} sessions are left", server.metric("halfping_sessions"));
        bystander.is_well();
    }
    assert_eq!(server.metric("halfping_links"), 1);
    drop(vanished);
}

#[test]
fn a_connection_that_is_closed_on_one_side_ends() {
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let half_open: Vec<Session> =
        (0..20).map(|_| Session::open(server.address, "/a?watch")).collect();
    until(&server, 21, 21);
    for session in &half_open {
        session.stream().shutdown(Shutdown::Write).unwrap();
    }
    until(&server, 1, 1);
    bystander.is_well();
}

#[test]
fn a_client_that_sends_a_byte_now_and_then() {
    // PROTOCOL L13
    let _turn = turn();
    let server = serve_limited(|limits| limits.body_timeout_ms = 400);
    let mut bystander = Bystander::new(&server);
    let mut slow: Vec<Session> = (0..10).map(|_| Session::open(server.address, "/")).collect();
    let command =
        frame(1, json!({ "put": "/slow", "value": "x".repeat(500) }).to_string().as_bytes());
    let mut closed = vec![None; slow.len()];
    let until = Instant::now() + DEADLINE;
    let mut at = 0;
    // One byte at a time, each soon after the one before.
    while closed.iter().any(Option::is_none) {
        assert!(Instant::now() < until, "they were closed with {closed:?}");
        for (session, closed) in
            slow.iter_mut().zip(&mut closed).filter(|(_, closed)| closed.is_none())
        {
            drop(session.stream().write_all(&command[at..=at]));
            match session.next_within(Duration::from_millis(2)) {
                Told::Closed(code) => *closed = Some(code),
                Told::Nothing => {}
                other => panic!("{other:?}"),
            }
        }
        at = (at + 1).min(command.len() - 2);
        bystander.is_well();
    }
    assert!(closed.iter().all(|code| *code == Some(4101)), "{closed:?}");
    assert_eq!(server.talk().ask("GET /slow").status, 404);
}

#[test]
fn control_frames_do_not_keep_an_unfinished_message_alive() {
    // PROTOCOL L13
    let _turn = turn();
    let server = serve_limited(|limits| limits.body_timeout_ms = 400);
    let mut bystander = Bystander::new(&server);
    let begin = |first: u8| {
        let session = Session::open(server.address, "/");
        session.stream().write_all(&[first, 0x80, 0, 0, 0, 0]).unwrap();
        session
    };
    // Pongs, pings, empty fragments, and single bytes of pongs, between the frames of a message.
    let pongs: &[u8] = &[frame(10, b""), frame(10, b"again")].concat();
    let pings: &[u8] = &frame(9, b"");
    let fragments: &[u8] = &[0, 0x80, 0, 0, 0, 0];
    let ways =
        [(pongs, pongs.len()), (pings, pings.len()), (fragments, fragments.len()), (pongs, 1)];
    let mut closed = ways.map(|_| None);
    let mut sessions = ways.map(|_| begin(0x01));
    let until = Instant::now() + DEADLINE;
    for round in 0.. {
        assert!(Instant::now() < until, "they were closed with {closed:?}");
        for ((session, closed), (bytes, piece)) in sessions.iter_mut().zip(&mut closed).zip(ways) {
            if closed.is_none() {
                let at = (round * piece) % bytes.len();
                drop(session.stream().write_all(&bytes[at..at + piece]));
                match session.next_within(Duration::from_millis(2)) {
                    Told::Closed(code) => *closed = Some(code),
                    Told::Nothing => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        bystander.is_well();
        if closed.iter().all(Option::is_some) {
            break;
        }
    }
    assert_eq!(closed, [Some(4101); 4]);
}

#[test]
fn pongs_without_end_are_no_unfinished_message() {
    // PROTOCOL L13
    let _turn = turn();
    let server = serve_limited(|limits| limits.body_timeout_ms = 2_000);
    let mut session = Session::open(server.address, "/");
    let pong = frame(10, b"here");
    let begun = Instant::now();
    // Each write ends within a frame that the next one finishes.
    session.stream().write_all(&pong[..3]).unwrap();
    while begun.elapsed() < Duration::from_secs(4) {
        session.stream().write_all(&pong[3..]).unwrap();
        session.stream().write_all(&pong[..3]).unwrap();
        let told = session.next_within(Duration::from_millis(2));
        assert!(matches!(told, Told::Nothing), "{told:?}");
    }
    session.stream().write_all(&pong[3..]).unwrap();
    assert_eq!(session.ask(json!({ "get": "/" }))["status"], 200);
}

#[test]
fn after_a_frame_that_breaks_the_rules_nothing_is_decoded() {
    // PROTOCOL L13: single bytes after a frame of opcode 3 once made a panic.
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let mut session = Session::open(server.address, "/");
    session.stream().write_all(&frame(3, b"")).unwrap();
    assert_eq!(session.closed(), 1002);
    for _ in 0..50 {
        session
            .stream()
            .write_all(b"x")
            .expect("the connection is drained until the client closes it");
        thread::sleep(Duration::from_millis(1));
    }
    until(&server, 2, 1);
    bystander.is_well();
    drop(session);
    until(&server, 1, 1);
}

#[test]
fn a_long_message_takes_room_only_as_it_arrives() {
    // PROTOCOL L13
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let before = memory();
    let sessions: Vec<Session> = (0..100)
        .map(|_| {
            let session = Session::open(server.address, "/");
            let mut stream = session.stream();
            stream.write_all(&head(1, 4 << 20)).unwrap();
            stream.write_all(b"[").unwrap();
            session
        })
        .collect();
    until(&server, 101, 1);
    bystander.is_well();
    // 400 MiB were announced.
    check_growth(before, 32 << 20);
    drop(sessions);
    until(&server, 1, 1);
}

#[test]
fn noise_is_answered_with_a_close_code() {
    // PROTOCOL L13
    let _turn = turn();
    let mut random = Random(seed());
    let server = serve_limited(|limits| limits.body_timeout_ms = 100);
    let mut bystander = Bystander::new(&server);
    for _ in 0..200 {
        let mut session = Session::open(server.address, "/");
        let length = 1 + random.below(400) as usize;
        let mut noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if random.below(2) == 0 {
            // The first frame is valid, so that not all end at the first byte.
            noise = frame([1, 2, 8, 9, 10][random.below(5) as usize], &noise);
            let last = noise.len() - 1;
            noise[random.below(3) as usize * last / 2] ^= 1 << random.below(8);
        }
        press(session.stream(), &noise);
        // A close frame of the client is answered with its own code, whatever that is.
        loop {
            match session.next_within(Duration::from_millis(300)) {
                Told::Message(message) => assert!(message.get("error").is_some(), "{message}"),
                Told::Closed(code) => {
                    let own = noise.first().is_some_and(|first| first & 15 == 8);
                    let known = matches!(code, 1002 | 1003 | 1007 | 1009 | 4101);
                    assert!(own || known, "closed with {code} for {noise:?}");
                    break;
                }
                // The noise may have been a pong, which has no answer.
                Told::Nothing | Told::Cut => break,
            }
        }
    }
    bystander.is_well();
    until(&server, 1, 1);
}

#[test]
fn commands_with_a_few_wrong_characters_do_no_harm() {
    // PROTOCOL L9
    let _turn = turn();
    let mut random = Random(seed());
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let mut session = Session::open(server.address, "/");
    let commands = [
        r#"{"watch":1,"path":"/a","since":"x.1","rate":1.5,"depth":2,"delta":false,"priority":1,"ref":7}"#,
        r#"{"watch":[[1,"/a"],[2,"/b/c"]],"ref":7}"#,
        r#"[{"unwatch":1},{"unwatch":[1,2,3],"ref":7}]"#,
        r#"{"put":"/x","value":{"y":[1,null,"z"]},"if":null,"ref":7}"#,
        r#"{"merge":"/x","value":{"y":null},"if":"*"}"#,
        r#"{"patch":"/x","value":[{"op":"add","path":"/z","value":1}],"ref":7}"#,
        r#"{"delete":"/x","if":"a.1"}"#,
        r#"{"post":"/x","value":1,"ref":7}"#,
        r#"{"get":"/x","depth":1,"ref":7}"#,
        r#"[{"credit":100000},{"ack":"a.1"}]"#,
    ];
    let letters: Vec<char> = r#"{}[]",:.0123456789-etruefalsn/_%\ "#.chars().collect();
    let letter = |random: &mut Random| letters[random.below(letters.len() as u64) as usize];
    for n in 0..3000_u64 {
        let mut text: Vec<char> =
            commands[random.below(commands.len() as u64) as usize].chars().collect();
        for _ in 0..random.below(4) {
            let at = random.below(text.len() as u64) as usize;
            match random.below(3) {
                0 => text[at] = letter(&mut random),
                1 => text.insert(at, letter(&mut random)),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        session.stream().write_all(&frame(1, text.as_bytes())).unwrap();
        // The session still handles the next command, after the wrong one, and answers it once.
        let number = 1_000_000 + n;
        session.say(&json!({ "get": "/_none", "ref": number }));
        loop {
            match session.next_within(DEADLINE) {
                Told::Message(message) if message["ref"] == number => break,
                Told::Message(_) => {}
                other => panic!("{other:?} after {text}"),
            }
        }
    }
    bystander.is_well();
}

#[test]
fn sessions_come_and_go_without_a_trace() {
    // Each way of leaving.
    let _turn = turn();
    let server = serve_limited(|_| {});
    let mut bystander = Bystander::new(&server);
    let visit = |address: SocketAddr, way: usize| {
        let mut session = Session::open(address, "/");
        let pairs = Value::from_iter((0..50).map(|id| json!([id, format!("/v/{id}")])));
        session.say(&json!({ "watch": pairs }));
        match way {
            0 => session.close(),
            1 => drop(session),
            2 => drop(session.state()),
            _ => session.say(&json!({ "unwatch": (0..25).collect::<Vec<u32>>() })),
        }
    };
    for way in 0..400 {
        visit(server.address, way % 4);
    }
    until(&server, 1, 1);
    let before = memory();
    for way in 0..2000 {
        visit(server.address, way % 4);
    }
    until(&server, 1, 1);
    check_growth(before, 8 << 20);
    bystander.is_well();
}
