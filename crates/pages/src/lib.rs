//! The pages in the binary, served from memory: the console at `/_console/`, the demo at `/_demo/`,
//! and the assets of both beneath `/_assets/`. Their sources are in `web/`; `build.rs` builds them.
//!
//! A page uses relative addresses for the API, so it also works beneath a prefix. With the router
//! of a `halfping::Api`, the console is at `/live/_console/`:
//!
//! ```
//! use axum::Router;
//! use halfping_pages::Pages;
//!
//! fn app(api: Router) -> Router {
//!     Router::new().nest_service("/live", Pages { console: true, demo: false }.router(api))
//! }
//! # let _ = app;
//! ```
//!
//! The console can show the server's own state if `Options::console` allows it.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower::{ServiceExt, service_fn};

/// A file that is served.
struct Asset {
    /// The path of the file in Vite's output.
    name: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Content security policy: pages may run the scripts and styles that come with them, and connect
/// to their own server. Nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Caching of assets, whose names change with their contents.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_EACH_TIME: &str = "no-cache";

/// The pages that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// `/_console/`
    pub console: bool,
    /// `/_demo/`
    pub demo: bool,
}

impl Pages {
    /// Answers a request for a page or an asset; `None` for any other request. `path` begins with
    /// `/`, after the prefix if there is one.
    pub fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        if (method != Method::GET && method != Method::HEAD) || !path.starts_with("/_") {
            return None;
        }
        let response = match path {
            "/_console" if self.console => moved("_console/"),
            "/_demo" if self.demo => moved("_demo/"),
            "/_console/" if self.console => file("console/index.html", headers),
            "/_demo/" if self.demo => file("demo/index.html", headers),
            _ if path.starts_with("/_assets/") && (self.console || self.demo) => {
                file(&path[1..], headers)
            }
            _ => return None,
        };
        Some(if method == Method::HEAD { headers_only(response) } else { response })
    }

    /// The pages, with a router of yours for everything else, such as the one of an `Api`.
    pub fn router(self, others: Router) -> Router {
        Router::new().fallback_service(service_fn(move |request: Request| {
            let page = self.answer(request.method(), request.uri().path(), request.headers());
            let others = others.clone();
            async move {
                match page {
                    Some(page) => Ok::<_, Infallible>(page),
                    None => others.oneshot(request).await,
                }
            }
        }))
    }
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return not_found(name);
    };
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let mut response = if is_known(headers, asset.etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(Bytes::from_static(asset.bytes)));
        let content_type = HeaderValue::from_static(content_type(extension));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(asset.bytes.len()));
        response
    };
    let is_page = extension == "html";
    let caching = if is_page { ASK_EACH_TIME } else { FOR_EVER };
    let own = response.headers_mut();
    own.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    own.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    own.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    own.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// True if the client has the file already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known =
        headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|known| known.to_str().ok());
    known
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == etag)
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        _ => "application/octet-stream",
    }
}

/// A redirect with a relative target, as the prefix is not known here.
fn moved(to: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_EACH_TIME));
    response
}

/// A problem document, like those of the API.
fn not_found(name: &str) -> Response {
    let plain: String =
        name.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\')).collect();
    let problem = format!(
        "{{\"type\":\"urn:halfping:problem:not-found\",\"title\":\"There is nothing here\",\"status\":404,\
         \"detail\":\"no page has a part of the name {plain}\",\"hint\":\"reload the page: the server may be newer than it\"}}"
    );
    let mut response = Response::new(Body::from(problem));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn headers_only(response: Response) -> Response {
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Pages = Pages { console: true, demo: true };

    fn get(pages: Pages, path: &str, known: Option<&str>) -> Option<Response> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(header::IF_NONE_MATCH, known.parse().unwrap());
        }
        pages.answer(&Method::GET, path, &headers)
    }

    fn text<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn pages_may_run_only_what_came_with_them_and_are_asked_for_each_time() {
        for page in ["/_console/", "/_demo/"] {
            let response = get(BOTH, page, None).unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(text(&response, "content-type"), "text/html; charset=utf-8");
            assert_eq!(text(&response, "cache-control"), "no-cache");
            assert_eq!(text(&response, "x-content-type-options"), "nosniff");
            assert_eq!(text(&response, "referrer-policy"), "no-referrer");
            let policy = text(&response, "content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';")
                    && !policy.contains("unsafe")
            );
            let etag = text(&response, "etag").to_owned();
            for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
                let response = get(BOTH, page, Some(&known)).unwrap();
                assert_eq!(
                    (response.status().as_u16(), text(&response, "etag")),
                    (304, etag.as_str())
                );
            }
            assert_eq!(get(BOTH, page, Some("\"x\"")).unwrap().status(), 200);
        }
    }

    #[test]
    fn no_page_has_an_inline_script_or_style() {
        let pages: Vec<_> = ASSETS.iter().filter(|asset| asset.name.ends_with(".html")).collect();
        assert_eq!(pages.len(), 2);
        for page in pages {
            let html = str::from_utf8(page.bytes).unwrap();
            assert!(!html.contains("<style") && !html.contains(" style="), "{}", page.name);
            for script in html.split("<script").skip(1) {
                assert!(
                    script.split('>').next().unwrap().contains(" src=\"../_assets/"),
                    "{}",
                    page.name
                );
            }
        }
    }

    #[test]
    fn assets_are_kept_for_ever() {
        for asset in ASSETS.iter().filter(|asset| asset.name.starts_with("_assets/")) {
            let response = get(BOTH, &format!("/{}", asset.name), None).unwrap();
            assert!(text(&response, "cache-control").contains("immutable"));
            assert_ne!(
                text(&response, "content-type"),
                "application/octet-stream",
                "{}",
                asset.name
            );
        }
        let response = get(BOTH, "/_assets/a\"b.js", None).unwrap();
        assert_eq!(
            (response.status(), text(&response, "content-type")),
            (StatusCode::NOT_FOUND, "application/problem+json")
        );
    }

    #[test]
    fn a_page_without_its_slash_is_moved_relatively() {
        let response = get(BOTH, "/_demo", None).unwrap();
        assert_eq!((response.status().as_u16(), text(&response, "location")), (308, "_demo/"));
    }

    #[test]
    fn what_is_not_a_page_or_switched_off_is_for_others() {
        for path in ["/", "/demo", "/_health", "/_demo/x", "/_console/index.html"] {
            assert!(get(BOTH, path, None).is_none(), "{path}");
        }
        let console = Pages { console: true, demo: false };
        assert!(get(console, "/_demo/", None).is_none() && get(console, "/_demo", None).is_none());
        assert!(get(Pages { console: false, demo: false }, "/_assets/x.js", None).is_none());
        assert!(BOTH.answer(&Method::PUT, "/_demo/", &HeaderMap::new()).is_none());
    }

    #[test]
    fn head_has_the_headers_of_get() {
        let response = BOTH.answer(&Method::HEAD, "/_demo/", &HeaderMap::new()).unwrap();
        let length: usize = text(&response, "content-length").parse().unwrap();
        assert!(length > 0);
        assert_eq!(http_body_len(&response), Some(0));
    }

    fn http_body_len(response: &Response) -> Option<u64> {
        use axum::body::HttpBody as _;
        response.body().size_hint().exact()
    }
}
