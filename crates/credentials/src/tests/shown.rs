//! Credentials in heads of requests.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::{Places, Secret, Shown, ShownError};

const PLACES: Places<'_> = Places { cookie: Some("halfping"), query_token: true };

fn headers(fields: &[(HeaderName, &[u8])]) -> HeaderMap {
    let value = |value: &[u8]| HeaderValue::from_bytes(value).unwrap();
    fields.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

fn find(fields: &[(HeaderName, &[u8])], query: Option<&str>) -> Result<Option<Shown>, ShownError> {
    Shown::find(&headers(fields), query, PLACES).map(|(shown, _)| shown)
}

fn bearer(text: &[u8]) -> Result<Option<Shown>, ShownError> {
    find(&[(AUTHORIZATION, text)], None)
}

fn cookie(text: &[u8]) -> Result<Option<Shown>, ShownError> {
    find(&[(COOKIE, text)], None)
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[test]
fn a_request_that_shows_nothing_shows_nothing() {
    assert_eq!(find(&[], None), Ok(None));
    assert_eq!(find(&[(COOKIE, b"theme=dark; halfping2=x")], Some("depth=1")), Ok(None));
}

#[test]
fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
    for text in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER  a.b-c_d", "bEaReR a.b-c_d "] {
        assert_eq!(bearer(text.as_bytes()), Ok(Some(Shown::Bearer(secret("a.b-c_d")))), "{text}");
    }
}

#[test]
fn any_other_use_of_authorization_is_an_error_and_no_error_tells_a_token() {
    for (text, says) in [
        ("Basic dTE6cA==", "'Authorization: Basic' is not used here: send 'Authorization: Bearer'"),
        ("Digest username=\"u1\"", "'Authorization: Digest'"),
        ("", "cannot be read"),
        ("Bearer", "cannot be read"),
        ("Bearer ", "cannot be read"),
        ("Bearer a b", "cannot be read"),
        ("Bearer a,Bearer b", "cannot be read"),
        ("Bearer \"a\"", "cannot be read"),
        ("Bearera", "cannot be read"),
        ("Bearer\ta", "cannot be read"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSJ9.", "cannot be read"),
        ("hpk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 x", "cannot be read"),
    ] {
        let error = bearer(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(!error.contains("eyJ") && !error.contains("hpk_"), "{text}: {error}");
    }
    assert_eq!(bearer(b"Bearer \xc3\xa4"), Err(ShownError::Authorization));
    let two = [(AUTHORIZATION, &b"Bearer a"[..]), (AUTHORIZATION, b"Bearer a")];
    assert!(matches!(find(&two, None), Err(ShownError::Two(..))));
}

#[test]
fn a_cookie_is_found_by_its_name_and_only_once() {
    let found = Ok(Some(Shown::Cookie(secret("a.b"))));
    for text in [
        "halfping=a.b",
        "theme=dark; halfping=a.b",
        "halfping=a.b; theme=dark",
        "theme=dark;halfping=a.b;",
        "halfping=\"a.b\"",
        "x=halfping=c; halfping=a.b",
    ] {
        assert_eq!(cookie(text.as_bytes()), found, "{text}");
    }
    assert_eq!(cookie(b"name=\xe4\xf6; halfping=a.b"), found, "cookies of others may be anything");
    let fields = [(COOKIE, &b"theme=dark"[..]), (COOKIE, b"halfping=a.b")];
    assert_eq!(find(&fields, None), found, "HTTP/2 may have several fields");
    for none in ["Halfping=a.b", "halfping2=a.b", "x=halfping", "half ping=a.b"] {
        assert_eq!(cookie(none.as_bytes()), Ok(None), "{none}");
    }
    // An empty one is shown as well, and is no good token.
    assert_eq!(cookie(b"halfping="), Ok(Some(Shown::Cookie(secret("")))));
    assert_eq!(cookie(b"halfping"), Ok(Some(Shown::Cookie(secret("")))));
    assert_eq!(cookie(b"halfping=\xff"), Err(ShownError::Cookie));
    let twice = [(COOKIE, &b"halfping=a"[..]), (COOKIE, b"halfping=a")];
    for error in [cookie(b"halfping=a; halfping=b"), find(&twice, None)] {
        assert!(matches!(error, Err(ShownError::Two(..))));
    }
    let without = Shown::find(&headers(&[(COOKIE, b"halfping=a")]), None, Places::default());
    assert_eq!(without, Ok((None, None)), "no cookie is looked at unless one is named");
}

#[test]
fn what_is_in_the_query_is_taken_out_of_it() {
    let find = |query| Shown::find(&HeaderMap::new(), Some(query), PLACES).unwrap();
    let token = Some(Shown::Query(secret("a.b")));
    let ticket = Some(Shown::Ticket(secret("t")));
    for (query, shown, rest) in [
        ("", None, Some("")),
        ("depth=1&x=%20", None, Some("depth=1&x=%20")),
        ("access_token=a.b", token.clone(), None),
        ("depth=1&access_token=a.b", token.clone(), Some("depth=1")),
        ("access_token=a.b&depth=1&where=a%3D1", token.clone(), Some("depth=1&where=a%3D1")),
        ("%61ccess_token=a%2Eb", token, None),
        ("ticket=t&&depth", ticket, Some("&depth")),
        ("ticket", Some(Shown::Ticket(secret(""))), None),
        ("tickets=t&Ticket=t&x=ticket", None, Some("tickets=t&Ticket=t&x=ticket")),
    ] {
        assert_eq!(find(query), (shown, rest.map(Into::into)), "{query}");
    }
}

#[test]
fn a_token_in_the_query_is_an_error_where_none_is_taken() {
    let places = Places { query_token: false, ..PLACES };
    let find = |query| Shown::find(&HeaderMap::new(), Some(query), places);
    assert_eq!(find("access_token=a"), Err(ShownError::QueryToken));
    assert!(find("ticket=t").is_ok(), "tickets are made for that");
}

#[test]
fn two_credentials_are_an_error_that_names_both_places() {
    let header = (AUTHORIZATION, &b"Bearer a"[..]);
    let cookie = (COOKIE, &b"halfping=a"[..]);
    for (fields, query, first, second) in [
        (vec![header.clone(), cookie.clone()], None, "'Authorization'", "a cookie"),
        (vec![header.clone()], Some("access_token=a"), "'Authorization'", "'access_token'"),
        (vec![cookie.clone()], Some("ticket=a"), "a cookie", "'ticket'"),
        (vec![], Some("ticket=a&access_token=a"), "'ticket'", "'access_token'"),
        (vec![], Some("ticket=a&ticket=a"), "'ticket'", "'ticket'"),
    ] {
        let error = find(&fields, query).unwrap_err().to_string();
        assert!(error.contains(first), "{error}");
        assert!(error.ends_with("send one of them") && error.contains(second), "{error}");
    }
}

/// Queries that have credentials in them, or nearly.
const QUERY: &str = "(access_token|ticket|%74icket|depth)?[=&a.%+]{0,4}\\
                     (access_token|ticket|&|=|x){0,6}";

proptest! {
    #[test]
    fn no_head_makes_a_panic_and_no_query_keeps_a_credential(
        authorization in prop::collection::vec(32_u8..=255, 0..30),
        cookies in prop::collection::vec(32_u8..=255, 0..30),
        query in QUERY,
    ) {
        let fields = [(AUTHORIZATION, &*authorization), (COOKIE, &*cookies)];
        let fields: Vec<_> = fields.into_iter().filter(|(_, text)| !text.contains(&127)).collect();
        let _ = find(&fields, Some(&query));
        if let Ok((_, Some(rest))) = Shown::find(&HeaderMap::new(), Some(&query), PLACES) {
            let left = form_urlencoded::parse(rest.as_bytes());
            let is_credential = |name: &str| name == "access_token" || name == "ticket";
            prop_assert!(left.into_iter().all(|(name, _)| !is_credential(&name)), "{rest}");
        }
    }
}
