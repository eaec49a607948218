//! Retries: which errors a request is repeated after, how often, and with which pauses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{Error, Passing};

/// Approximate first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(400);
/// Longest pause that a service may request.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Returns the pause after `error` before the next attempt; `None` if there is no further attempt.
pub(super) fn pause(error: &Error, attempt: u32) -> Option<Duration> {
    let passing = error.passing.as_ref()?;
    let most = match passing {
        // The service works, but limits the rate.
        Passing::Throttled { .. } => 8,
        Passing::Server => 5,
        Passing::Connection => 3,
    };
    if attempt >= most {
        return None;
    }
    if let Passing::Throttled { after: Some(after) } = passing {
        return Some((*after).min(LONGEST_PAUSE));
    }
    let doubled = FIRST_PAUSE * 2u32.pow((attempt - 1).min(6));
    // Random pauses, so that requests refused at the same moment do not return at the same moment.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_micros();
    Some((doubled + doubled * (now % 1000) / 2000).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Problem;

    fn error(passing: Option<Passing>) -> Error {
        Error { passing, ..Error::new(Problem::Other, "no") }
    }

    #[test]
    fn pauses_grow_and_end() {
        let server = error(Some(Passing::Server));
        let pauses: Vec<Duration> = (1..9).map_while(|attempt| pause(&server, attempt)).collect();
        assert_eq!(pauses.len(), 4);
        assert!(pauses.windows(2).all(|two| two[0] < two[1]), "{pauses:?}");
        assert_eq!(pause(&error(None), 1), None);
    }

    #[test]
    fn a_service_says_when_to_come_back_within_bounds() {
        let after = |seconds| Passing::Throttled { after: Some(Duration::from_secs(seconds)) };
        assert_eq!(pause(&error(Some(after(2))), 1), Some(Duration::from_secs(2)));
        assert_eq!(pause(&error(Some(after(3600))), 1), Some(LONGEST_PAUSE));
        assert_eq!(pause(&error(Some(after(2))), 8), None);
    }
}
