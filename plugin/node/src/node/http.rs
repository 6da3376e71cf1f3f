//! Pages for whoever watches a node: HTTP/1.1, reading only, a few clients at once.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

/// More wait for nothing: they are hung up on.
const CLIENTS_MAX: usize = 8;
/// For one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

/// Makes the page of a path; none: there is none. May take its time.
pub(crate) type Pages = Arc<dyn Fn(&str) -> Option<Answer> + Send + Sync>;

/// Opens the port.
///
/// # Errors
/// The system's: mostly that somebody has it.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until it is dropped, within the event loop that it is called in.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) -> io::Result<Infallible> {
    let is_private = listener.local_addr()?.ip().is_loopback();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly "too many open files", which lasts: do not spin on it.
                tracing::debug!(target: "audiocloud::node", %error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, is_private, Arc::clone(&pages)));
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(TIMEOUT, connection).await {
                tracing::debug!(target: "audiocloud::node", %error, "a client of the metrics was dropped");
            }
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    is_private: bool,
    pages: Pages,
) -> Result<Response<String>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    // A page of the web may have its own name lead here, and would read what is meant for this machine alone.
    if is_private && !request.headers().get(HOST).is_none_or(|host| is_own_name(host.to_str().unwrap_or("?")))
    {
        return Ok(plain(
            StatusCode::MISDIRECTED_REQUEST,
            "call this machine by its address, or localhost\n",
        ));
    }
    let path = request.uri().path().to_owned();
    let made = tokio::task::spawn_blocking(move || pages(&path)).await;
    Ok(match made {
        Ok(Some(Answer { status, content_type, body })) => {
            let mut page = plain(status, body);
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            page
        }
        Ok(None) => plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the page could not be made; this is a mistake of ours\n",
        ),
    })
}

fn plain(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Whether `host`, with or without a port, is an address or localhost, which nobody else's name can be.
fn is_own_name(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn only_names_that_nobody_can_take_are_ours() {
        let check = |host: &str, expected: bool| assert_eq!(is_own_name(host), expected, "{host}");
        check("127.0.0.1:9464", true);
        check("127.0.0.1", true);
        check("localhost:1", true);
        check("[::1]:9464", true);
        check("[::1]", true);
        check("evil.example.org:9464", false);
        check("localhost.example.org", false);
        check("?", false);
    }

    /// What comes back for these bytes, as one text.
    fn exchange(address: SocketAddr, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(sent).unwrap();
        let mut bytes = Vec::new();
        // It may be hung up on before it has read all that was sent.
        stream.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn pages_are_read_and_nothing_else_is_done() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let pages: Pages = Arc::new(|path| match path {
            "/metrics" => {
                Some(Answer { status: StatusCode::OK, content_type: "text/x", body: "a 1\n".into() })
            }
            "/bad" => panic!("on purpose"),
            _ => None,
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    ended = serve(listener, pages) => panic!("{ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        let get = |path: &str| {
            exchange(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
        };
        let page = get("/metrics");
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("text/x") && page.ends_with("\r\n\r\na 1\n"),
            "{page}"
        );
        assert!(get("/nowhere").starts_with("HTTP/1.1 404"));
        assert!(get("/bad").starts_with("HTTP/1.1 500"));
        let posted =
            exchange(address, b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert!(
            posted.starts_with("HTTP/1.1 405") && posted.to_lowercase().contains("allow: get"),
            "{posted}"
        );
        let rebound = exchange(address, b"GET /metrics HTTP/1.1\r\nHost: evil.example.org\r\n\r\n");
        assert!(rebound.starts_with("HTTP/1.1 421"), "{rebound}");
        assert!(exchange(address, b"\x16\x03\x01\x00garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
        // Silent clients take all the room; the next one is hung up on, and there is room again after them.
        let silent: Vec<_> = (0..CLIENTS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut refused = false;
        for _ in 0..50 {
            refused = refused || get("/metrics").is_empty();
        }
        assert!(refused, "more clients than there is room for");
        drop(silent);
        let mut tries = 0;
        while !get("/metrics").starts_with("HTTP/1.1 200") {
            tries += 1;
            assert!(tries < 10_000, "there is no room again");
        }
        stop.send(()).unwrap();
        server.join().unwrap();
    }
}
