//! Reads what a certificate says. It proves nothing: that is the judge's part.
//!
//! A certificate's beginning tells nothing here, for all begin in 1970. So that its bearer still knows how much of its life is over, the
//! serial number carries when it was signed: 8 bytes of seconds, then 8 that are random.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::{Error, Subject, UnixSecs, random};

/// Longest certificate that is read. The longest that an authority signs, for a client with the longest prefix, is a third of it.
pub const CERTIFICATE_MAX_BYTES: usize = 4 << 10;

/// Whom the certificate speaks of. Of a TLS peer's first certificate it is true once the handshake is over, of any other it is hearsay.
pub fn subject_of(cert_der: &[u8]) -> Result<Subject, Error> {
    read(cert_der, |cert| only_uri(cert)?.parse())
}

pub(crate) fn read<T>(der: &[u8], then: impl FnOnce(&EndEntityCert) -> Result<T, Error>) -> Result<T, Error> {
    Error::unless_within("certificate", der.len(), CERTIFICATE_MAX_BYTES)?;
    let der = CertificateDer::from(der);
    let cert = EndEntityCert::try_from(&der).map_err(|why| Error::malformed("certificate", why))?;
    then(&cert)
}

/// A second name would leave open which of the two was meant.
pub(crate) fn only_uri<'a>(cert: &EndEntityCert<'a>) -> Result<&'a str, Error> {
    let mut names = cert.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) => Err(Error::malformed("certificate", "it names nobody")),
        (Some(_), Some(_)) => Err(Error::malformed("certificate", "it names more than one")),
    }
}

/// The last second in which the certificate is valid.
pub(crate) fn expires(der: &[u8]) -> Result<UnixSecs, Error> {
    Error::unless_within("certificate", der.len(), CERTIFICATE_MAX_BYTES)?;
    let (rest, cert) = x509_parser::parse_x509_certificate(der).map_err(|why| Error::malformed("certificate", why))?;
    if !rest.is_empty() {
        return Err(Error::malformed("certificate", "something follows it"));
    }
    let end = cert.validity().not_after.timestamp();
    u64::try_from(end).map(UnixSecs).map_err(|_| Error::malformed("certificate", "it ended before 1970"))
}

pub(crate) fn issued(der: &[u8]) -> Result<UnixSecs, Error> {
    read(der, |cert| {
        // As a number it has lost its leading zeros, or gained one that tells it from a negative one.
        let digits = cert.serial();
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        let mut serial = [0; SERIAL_BYTES];
        let start = SERIAL_BYTES.checked_sub(digits.len()).ok_or_else(|| Error::malformed("certificate", "its serial is too long"))?;
        serial[start..].copy_from_slice(digits);
        Ok(UnixSecs(u64::from_be_bytes(*serial.first_chunk().expect("a serial is longer than its time"))))
    })
}

pub(crate) fn new_serial(now: UnixSecs) -> Result<[u8; SERIAL_BYTES], Error> {
    let mut serial = [0; SERIAL_BYTES];
    let (time, rest) = serial.split_at_mut(size_of::<u64>());
    time.copy_from_slice(&now.0.to_be_bytes());
    rest.copy_from_slice(&random::bytes::<8>()?);
    Ok(serial)
}

pub(crate) const SERIAL_BYTES: usize = 16;
