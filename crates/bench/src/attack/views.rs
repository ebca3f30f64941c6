//! Views: very many, of which every member has to be asked; conditions of the largest size; orders
//! of large collections, and windows of large members.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::ground::{CHANGE, Ground, RECEIVE_BUFFER};
use super::links::answers;
use super::material::{VALUE, expect, members};
use super::scenario::{Bound, Scenario};
use super::slow::CONNECTION_BYTES;
use super::terms::Terms;
use super::values::change;
use crate::plain::Plain;
use crate::ws;

/// Members of the collection, and of the one of which a view is made while writes come.
const ROWS: u64 = 10_000;
const MANY_ROWS: u64 = 100_000;
/// Bytes of a body that writes some of them.
const FILL_BYTES: usize = 256 << 10;
/// Views that one session asks for.
const VIEWS: u64 = 10_000;
/// Memory of a view, its text and its condition.
const VIEW_BYTES: u64 = 8 << 10;
/// Memory of a member's row in an order.
const ROW_BYTES: u64 = 64;
/// Parts of a condition of the largest size: `n != N` has three, and one more joins it.
const COMPARISONS: usize = 16;
/// Members of a window, and bytes of each.
const WINDOW: u64 = 1000;
const LARGE_BYTES: usize = 1000;
const UNREAD_STREAMS: u64 = 200;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        name: "views-unindexed",
        summary: "10,000 different conditions from one session, of which every member is asked",
        prepare: |plain, _| rows(plain, ROWS),
        crew: &[(1, open_conditions), (1, change_row)],
        bound: |terms| views(terms, 0),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "views-orders",
        summary: "10,000 different orders from one session, each of all members",
        prepare: |plain, _| rows(plain, ROWS),
        crew: &[(1, open_orders), (1, change_row)],
        bound: |terms| views(terms, terms.unindexed_lenses() * ROWS),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "conditions-large",
        summary: "8 clients that read 10,000 members through conditions of the largest size",
        prepare: |plain, _| rows(plain, ROWS),
        crew: &[(8, ask_much)],
        bound: |terms| (8 * terms.ahead_bytes() + (16 << 20), "8 x ahead_bytes + 16 MiB"),
        ..Scenario::PLAIN
    },
    Scenario {
        name: "view-remade",
        summary: "orders of 100,000 members are made again and again while 4 clients write",
        prepare: |plain, _| rows(plain, MANY_ROWS),
        crew: &[(2, remake), (4, write_on)],
        bound: |terms| {
            (terms.unindexed_lenses() * MANY_ROWS * ROW_BYTES, "unindexed_lenses x members x 64")
        },
        ..Scenario::PLAIN
    },
    Scenario {
        name: "windows-large",
        summary: "200 streams of the first 1,000 of members of 1 kB, never read while they change",
        prepare: |plain, _| large_rows(plain),
        crew: &[(1, open_streams), (1, change_row)],
        bound: |terms| {
            let stream = CONNECTION_BYTES + terms.ahead_bytes() + 2 * terms.slice_bytes();
            let window = WINDOW * LARGE_BYTES as u64;
            (
                UNREAD_STREAMS * stream + terms.shared_encoding_bytes() + 2 * window,
                "streams x (8 KiB + ahead_bytes + 2 x slice_bytes) + shared_encoding_bytes \
                 + 2 x the window",
            )
        },
        ..Scenario::PLAIN
    },
];

fn views(terms: &Terms, rows: u64) -> Bound {
    (
        terms.views_per_connection() * VIEW_BYTES + rows * ROW_BYTES + 4 * terms.message_bytes(),
        "views_per_connection x 8 KiB + unindexed_lenses x members x 64 (orders) \
         + 4 x message_bytes",
    )
}

fn rows(plain: &mut Plain, count: u64) -> io::Result<()> {
    members(plain, VALUE, count, FILL_BYTES, |body, row| {
        write!(body, "\"r{row}\":{{\"n\":{row},\"m\":{},\"line\":\"U{}\"}}", row % 97, row % 9)
    })
}

fn large_rows(plain: &mut Plain) -> io::Result<()> {
    let text = "x".repeat(LARGE_BYTES);
    members(plain, VALUE, 2 * WINDOW, FILL_BYTES, |body, row| {
        write!(body, "\"r{row}\":{{\"n\":{row},\"text\":\"{text}\"}}")
    })
}

/// Rows move: in orders, and in and out of conditions.
fn change_row(ground: &Ground, _: usize) {
    change(ground, CHANGE, |plain, round| {
        let (row, n) = (round * 7919 % WINDOW, round * 104_729 % ROWS);
        expect(&plain.merge(VALUE, format!("{{\"r{row}\":{{\"n\":{n}}}}}").as_bytes())?)
    });
}

fn write_on(ground: &Ground, number: usize) {
    change(ground, Duration::ZERO, |plain, round| {
        let row = (round * 4 + number as u64) * 7919 % MANY_ROWS;
        expect(&plain.merge(VALUE, format!("{{\"r{row}\":{{\"n\":{round}}}}}").as_bytes())?)
    });
}

fn open_conditions(ground: &Ground, _: usize) {
    open(ground, |view| format!("\"where\":\"n > {view}\""));
}

fn open_orders(ground: &Ground, _: usize) {
    open(ground, |view| format!("\"order\":\"m,-n,line,o{view}\",\"limit\":20"));
}

/// Opens a link through each of the views, and reads what comes of it.
fn open(ground: &Ground, shape: impl Fn(u64) -> String) {
    let opened = (|| {
        let mut stream = ground.session(None)?;
        let mut frame = Vec::new();
        for view in 0..VIEWS {
            let shape = shape(view);
            let command = format!("{{\"ref\":1,\"watch\":{view},\"path\":\"{VALUE}\",{shape}}}");
            ws::push_masked(&mut frame, ws::TEXT, command.as_bytes());
        }
        let mut writer = stream.try_clone()?;
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&frame));
            answers(ground, &mut stream)
        })
    })();
    if opened.is_err() {
        ground.count("cut");
    }
}

fn ask_much(ground: &Ground, number: usize) {
    let mut plain = Plain::new(ground.address);
    for round in 0u64.. {
        if !ground.goes_on() {
            break;
        }
        // True of no member, which is only known in the end.
        let first = round * 8 + number as u64;
        let comparisons: Vec<String> =
            (0..COMPARISONS as u64).map(|n| format!("n%20!=%20-{}", 1 + first + n)).collect();
        let condition = comparisons[1..].join("%20%26%26%20");
        match plain.get(&format!("{VALUE}?where={condition}%20%26%26%20n%20%3C%200&limit=1")) {
            Ok(answer) => ground.count(&format!("conditions: {}", answer.status)),
            Err(_) => ground.count("cut"),
        }
    }
}

/// Opens a stream of a window, takes its first bytes, and closes it.
fn remake(ground: &Ground, number: usize) {
    for round in 0u64.. {
        if !ground.goes_on() {
            break;
        }
        let order = format!("o{number}x{round},-n");
        let begun = Instant::now();
        match ask(ground, &format!("{VALUE}?order={order}&limit=20"), None).and_then(first_byte) {
            Ok(()) => {
                ground.count("views made");
                ground.took("until a view is made", begun.elapsed());
            }
            Err(_) => ground.count("cut"),
        }
    }
}

/// Asks for an event stream.
fn ask(ground: &Ground, target: &str, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let mut stream = ground.connect(receive_buffer)?;
    let host = ground.address;
    write!(stream, "GET {target} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n")?;
    Ok(stream)
}

/// Waits for the first event.
fn first_byte(mut stream: TcpStream) -> io::Result<()> {
    let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
    while memchr::memmem::find(&read, b"data: ").is_none() {
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read.extend_from_slice(&bytes[..more]),
        }
    }
    Ok(())
}

fn open_streams(ground: &Ground, _: usize) {
    let target = format!("{VALUE}?order=-n&limit={WINDOW}");
    let streams: Vec<TcpStream> = (0..UNREAD_STREAMS)
        .take_while(|_| ground.goes_on())
        .filter_map(|_| {
            // Streams are opened one after the other, so that each finds another state.
            thread::sleep(CHANGE);
            ask(ground, &target, Some(RECEIVE_BUFFER)).ok()
        })
        .collect();
    ground.count(&format!("streams opened: {}", streams.len()));
    while ground.rest(CHANGE) {}
}
