//! A mirror holds the server's value, however often and wherever its connection is cut.
//!
//! The value is large enough to come in parts (S5), and the cuts fall anywhere: between parts,
//! inside a line. Whatever a resume from the wrong cursor misses stays missing, and the values
//! differ in the end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use halfping_client::{Client, Event, Mirror, WatchOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout_at};

const SEED: u64 = 7;
const MEMBERS: u64 = 3000;
const WRITES: u64 = 400;
/// The longest time of the whole test.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve() -> (Server, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_halfping"))
        .args(["serve", "--memory", "--log", "warn", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().to_owned();
    (Server(child), address)
}

fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// Forwards connections to `server`, and cuts each after some bytes of answer, while cuts are left.
async fn cutting_proxy(listener: TcpListener, server: String, cuts: Arc<AtomicU64>) {
    let mut random = SEED;
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let cut = cuts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cuts| cuts.checked_sub(1))
            .is_ok();
        // Some cuts come soon, some in the middle of a snapshot, and some after it.
        let budget = match next(&mut random) {
            _ if !cut => u64::MAX,
            n if n % 2 == 0 => 200 + n % 3_000,
            n => 200 + n % 300_000,
        };
        let mut far = TcpStream::connect(&server).await.unwrap();
        tokio::spawn(async move {
            let (mut near_read, mut near_write) = near.split();
            let (far_read, mut far_write) = far.split();
            let mut answer = far_read.take(budget);
            tokio::select! {
                _ = tokio::io::copy(&mut near_read, &mut far_write) => {}
                _ = tokio::io::copy(&mut answer, &mut near_write) => {}
            }
            let _ = near_write.shutdown().await;
        });
    }
}

/// One write somewhere in the tree, of a random kind; together they lead to all kinds of frames.
async fn write(client: &Client, random: &mut u64) {
    let member = format!("/v/{}", next(random) % MEMBERS);
    let n = next(random);
    match n % 10 {
        0 => drop(client.delete(&member).await), // It may be gone already.
        1 => drop(client.put(&member, "null").await.unwrap()),
        2 => drop(client.put(&member, format!("{{\"new\":{n}}}")).await.unwrap()),
        3 => drop(
            client
                .merge("/v", format!("{{\"{n}\":{{\"a\":1}},\"{}\":null}}", n % MEMBERS))
                .await
                .unwrap(),
        ),
        4 if n % 40 == 4 => {
            client.delete("/v").await.unwrap();
            client.put("/v", value(random)).await.unwrap();
        }
        _ => drop(
            client.merge(&member, format!("{{\"x\":{n},\"deep\":{{\"y\":{n}}}}}")).await.unwrap(),
        ),
    }
}

fn value(random: &mut u64) -> String {
    let members = (0..MEMBERS)
        .map(|n| format!("\"{n}\":{{\"x\":{},\"text\":\"{}\"}}", next(random), "t".repeat(60)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_mirror_through_cuts() {
    let (_server, address) = serve();
    let direct = Client::new(&format!("http://{address}")).unwrap();
    let mut random = SEED;
    direct.put("/v", value(&mut random)).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let cuts = Arc::new(AtomicU64::new(12));
    tokio::spawn(cutting_proxy(listener, address, Arc::clone(&cuts)));

    let writer = direct.clone();
    let left = Arc::clone(&cuts);
    let writing = tokio::spawn(async move {
        let mut writes = 0;
        while writes < WRITES || left.load(Ordering::Relaxed) > 0 {
            write(&writer, &mut random).await;
            sleep(Duration::from_millis(5)).await;
            writes += 1;
        }
    });

    let mut watch = through.watch("/v", WatchOptions::default()).unwrap();
    let mut mirror = Mirror::new();
    let (mut lost, mut parts) = (0, 0);
    let until = Instant::now() + PATIENCE;
    loop {
        match timeout_at(until, watch.next())
            .await
            .expect("the mirror never shows the server's value")
            .unwrap()
        {
            Event::Frame(frame) => mirror.apply(&frame).unwrap(),
            Event::Lost { .. } => lost += 1,
            Event::Connected { .. } => {}
        }
        parts += u32::from(!mirror.is_complete());
        if writing.is_finished() && mirror.is_complete() {
            let now = direct.get("/v").await.unwrap();
            // With another cursor, there is more to come.
            if mirror.cursor() == now.cursor.as_ref() {
                let now: serde_json::Value = serde_json::from_str(&now.json).unwrap();
                assert!(mirror.value() == Some(&now), "the mirror differs after {lost} cuts");
                break;
            }
        }
    }
    assert!(
        lost >= 8 && parts > 8,
        "{lost} cuts and {parts} incomplete states are too few to tell anything"
    );
}
