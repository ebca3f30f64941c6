//! Tests of access.

use halfping_engine::Limits;

use super::*;

fn names(problem: Result<(), Problem>) -> &'static str {
    problem.map_or_else(|problem| problem.kind().name(), |()| "allowed")
}

#[test]
fn names_of_the_server_are_neither_read_nor_followed_nor_written() {
    let client = Access { is_program: false, ..Access::of_program(NamedViews::default()) };
    let access = Access { sees_own: false, ..client.clone() };
    let follower = access.follow().unwrap();
    for (text, read, followed, written, created) in [
        ("/", "allowed", "allowed", "allowed", "allowed"),
        ("/a/_b", "allowed", "allowed", "allowed", "allowed"),
        ("/_x", "not-found", "reserved-path", "reserved-path", "reserved-path"),
        ("/_streams", "not-found", "reserved-path", "reserved-path", "reserved-path"),
        ("/a/_streams", "allowed", "allowed", "allowed", "reserved-path"),
        ("/_server", "not-found", "not-found", "reserved-path", "reserved-path"),
        ("/_server/a", "not-found", "not-found", "reserved-path", "reserved-path"),
    ] {
        let path = Path::parse(text, &Limits::default()).unwrap();
        let all = Shape::default();
        assert_eq!(names(access.read(path.clone(), &all).map(drop)), read, "read {text}");
        let watch = follower.watch(path.clone(), &all);
        assert_eq!(names(watch.map(drop)), followed, "follow {text}");
        assert_eq!(names(access.write(path.clone()).map(drop)), written, "write {text}");
        assert_eq!(names(access.create(path).map(drop)), created, "create beneath {text}");
    }
    let path = Path::parse("/_server", &Limits::default()).unwrap();
    assert!(client.read(path, &Shape::default()).is_ok(), "it is let in");
}

#[test]
fn strangers_may_read_only_and_nobody_writes_where_all_is_read_only() {
    let path = Path::parse("/a", &Limits::default()).unwrap();
    let stranger = Sender::of(Some("http://evil.example"), None);
    let client = Access { is_program: false, ..Access::of_program(NamedViews::default()) };
    let stranger = Access { sender: stranger, ..client.clone() };
    let read = stranger.read(path.clone(), &Shape::default());
    assert_eq!(names(read.map(drop)), "allowed");
    assert_eq!(names(stranger.follow().map(drop)), "forbidden-origin");
    assert_eq!(names(stranger.write(path.clone()).map(drop)), "forbidden-origin");
    assert_eq!(names(stranger.create(path.clone()).map(drop)), "forbidden-origin");
    let streams = Path::parse("/a/_streams", &Limits::default()).unwrap();
    assert_eq!(names(stranger.create(streams.clone()).map(drop)), "forbidden-origin");

    let read_only = Access { read_only: true, ..client };
    assert_eq!(names(read_only.follow().map(drop)), "allowed");
    assert_eq!(names(read_only.write(path.clone()).map(drop)), "read-only");
    assert_eq!(names(read_only.create(path).map(drop)), "read-only");
    assert_eq!(names(read_only.create(streams).map(drop)), "reserved-path");
}

#[test]
fn what_a_view_is_of_is_checked_and_nothing_is_written_to_a_view() {
    // PROTOCOL Q16
    let path = |text: &str| Path::parse(text, &Limits::default()).unwrap();
    let view = |path: &str, from: &str| NamedView {
        path: path.to_owned(),
        from: from.to_owned(),
        ..NamedView::default()
    };
    let views = [view("/own", "/_server/sessions"), view("/top", "/v")];
    let program = Access::of_program(NamedViews::new(&views, &Limits::default()).unwrap());
    let client = Access { is_program: false, sees_own: false, ..program.clone() };
    let all = Shape::default();
    assert_eq!(names(client.read(path("/own"), &all).map(drop)), "not-found");
    let follower = client.follow().unwrap();
    assert_eq!(names(follower.watch(path("/own"), &all).map(drop)), "not-found");
    assert_eq!(program.read(path("/own"), &all).unwrap().0.to_string(), "/_server/sessions");
    for access in [client, program] {
        assert_eq!(access.read(path("/top"), &all).unwrap().0.to_string(), "/v");
        for text in ["/top", "/top/a"] {
            assert_eq!(names(access.write(path(text)).map(drop)), "read-only");
            assert_eq!(names(access.create(path(text)).map(drop)), "read-only");
            assert!(access.is_only_read(&path(text)));
        }
        let beneath = access.read(path("/top/a/b"), &all).unwrap_err();
        assert!(String::from_utf8(beneath.to_json()).unwrap().contains("read /v/a/b"));
        assert!(!access.is_only_read(&path("/")));
    }
}
