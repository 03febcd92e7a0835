//! Tests of batches.

use super::answers::split;
use super::*;
use crate::error::BatchProblem;
use crate::lambda::request::Inputs;
use proptest::prelude::*;

fn batching(format: BatchFormat) -> Batching {
    Batching {
        rows: 1000,
        bytes: 5 << 20,
        format,
        caller: Arc::new(Caller {
            cluster: "c".into(),
            user: "u\"".into(),
            database: "d".into(),
            external_function: "s.f".into(),
        }),
    }
}

fn request() -> InvokeRequest {
    InvokeRequest::new(Inputs {
        function_name: Some("arn:aws:lambda:us-west-2:123456789012:function:f".into()),
        ..Inputs::default()
    })
    .unwrap()
}

#[test]
fn ids_of_an_execution_are_the_same_each_time() {
    let ids = Ids::of_execution("f:1", "order-7");
    assert_eq!(ids, Ids::of_execution("f:1", "order-7"));
    // Another release of this library must make the same: the execution may be there already.
    assert_eq!(ids.request_id, "8bb67c38-cf48-8142-9235-2e03932c5cbf");
    assert!(ids.query_id < 1 << 53);
    for (function, name) in [("f:2", "order-7"), ("f:1", "order-8"), ("f:1o", "rder-7")] {
        let other = Ids::of_execution(function, name);
        assert!(other.request_id != ids.request_id && other.query_id != ids.query_id);
    }
}

fn payload_of(format: BatchFormat, rows: &[Option<&str>], without: &[usize]) -> String {
    let ids = Ids {
        request_id: "1-2".into(),
        query_id: 7,
    };
    let mut payload = BatchPayload::new(&batching(format), &request(), &ids);
    for row in rows {
        let row = row.map(|row| Bytes::copy_from_slice(row.as_bytes()));
        assert!(payload.fits(row.as_ref()));
        payload.add(row.as_ref()).unwrap();
    }
    let bytes = payload.finish(without).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn answers(
    body: &str,
    rows: usize,
    format: BatchFormat,
) -> Result<Vec<Option<Bytes>>, BatchProblem> {
    let answers = split(&Bytes::copy_from_slice(body.as_bytes()), rows, format)?;
    assert_eq!(answers.get(rows), None);
    Ok((0..rows).map(|row| answers.get(row)).collect())
}

fn texts(body: &str, rows: usize, format: BatchFormat) -> Vec<String> {
    let answers = answers(body, rows, format).unwrap();
    let text = |answer: Option<Bytes>| String::from_utf8(answer.unwrap().to_vec()).unwrap();
    answers.into_iter().map(text).collect()
}

#[test]
fn payloads_are_copied_as_they_are() {
    let rows = [Some("1.0"), None, Some(" {\"a\":1, \"a\":2}"), Some("[ ]")];
    let array = payload_of(BatchFormat::Array, &rows, &[]);
    assert_eq!(array, "[1.0,null, {\"a\":1, \"a\":2},[ ]]");
    let redshift = payload_of(BatchFormat::Redshift, &rows, &[]);
    assert_eq!(
        redshift,
        concat!(
            r#"{"request_id":"1-2","cluster":"arn:aws:redshift:us-west-2:123456789012:cluster:c","user":"u\"","database":"d","#,
            r#""external_function":"s.f","query_id":7,"num_records":4,"#,
            r#""arguments":[[1.0],[null],[ {"a":1, "a":2}],[ ]]}"#
        )
    );
}

#[test]
fn rows_that_were_dropped_are_left_out() {
    let rows = [Some("1"), Some("2"), Some("3")];
    let array = |without: &[usize]| payload_of(BatchFormat::Array, &rows, without);
    assert_eq!(array(&[0]), "[2,3]");
    assert_eq!(array(&[1]), "[1,3]");
    assert_eq!(array(&[0, 2]), "[2]");
    let redshift = payload_of(BatchFormat::Redshift, &rows, &[1, 2]);
    assert!(redshift.ends_with(r#""num_records":1,"arguments":[[1]]}"#));
}

#[test]
fn what_is_no_json_makes_no_other_row() {
    let mut payload = BatchPayload::new(&batching(BatchFormat::Array), &request(), &Ids::default());
    for text in [
        "", " ", "1,2", "1]", "[1", "{\"a\":}", "'a'", "\"\n\"", "nul", "01",
    ] {
        let added = payload.add(Some(&Bytes::copy_from_slice(text.as_bytes())));
        assert_eq!(added, Err(Error::Request(RequestError::PayloadNotJson)));
    }
    payload.add(Some(&Bytes::from_static(b"1"))).unwrap();
    assert_eq!(&payload.finish(&[]).unwrap()[..], b"[1]");
}

#[test]
fn bytes_are_bounded() {
    let small = Batching {
        bytes: 18,
        ..batching(BatchFormat::Array)
    };
    let mut payload = BatchPayload::new(&small, &request(), &Ids::default());
    let row = Bytes::from_static(b"\"123456\"");
    payload.add(Some(&row)).unwrap();
    assert!(!payload.fits(Some(&row)));
    assert!(payload.fits(Some(&Bytes::from_static(b"1"))));
    let large = Bytes::from(format!("\"{}\"", "x".repeat(6 << 20)).into_bytes());
    let refused = payload.add(Some(&large));
    assert!(matches!(
        refused,
        Err(Error::Request(RequestError::PayloadTooLarge { .. }))
    ));
}

#[test]
fn answers_keep_their_bytes() {
    let body = "\n[ 1.00 , {\"b\": [1,2], \"b\":\"\\u00e9]\"},null ] ";
    let expected = ["1.00", "{\"b\": [1,2], \"b\":\"\\u00e9]\"}", "null"];
    assert_eq!(texts(body, 3, BatchFormat::Array), expected);
    let quoted = serde_json::Value::from(body).to_string();
    assert_eq!(texts(&quoted, 3, BatchFormat::Array), expected);
    for object in [
        format!("{{\"results\":{body}}}"),
        format!("{{\"results\":{quoted}, \"success\":true}}"),
        format!("{{\"success\":\"True\",\"num_records\":3,\"other\":[{{}}],\"results\":{body}}}"),
        format!("{{\"results\":[],\"num_records\":\"3\",\"results\":{body},\"error_msg\":null}}"),
    ] {
        assert_eq!(texts(&object, 3, BatchFormat::Redshift), expected);
        let quoted = serde_json::Value::from(object).to_string();
        assert_eq!(texts(&quoted, 3, BatchFormat::Redshift), expected);
    }
}

#[test]
fn another_number_of_answers_is_a_failure() {
    let count = |body, rows, format| match answers(body, rows, format) {
        Err(BatchProblem::Count { answers, .. }) => answers,
        other => panic!("{other:?}"),
    };
    assert_eq!(count("[]", 1, BatchFormat::Array), 0);
    assert_eq!(count("[1,2,3]", 2, BatchFormat::Array), 3);
    assert_eq!(count("{\"results\":[1]}", 2, BatchFormat::Redshift), 1);
    for stated in ["1", "\"1\"", "1.5", "-2"] {
        let body = format!("{{\"results\":[1,2],\"num_records\":{stated}}}");
        let problem = answers(&body, 2, BatchFormat::Redshift).unwrap_err();
        assert!(matches!(problem, BatchProblem::NumRecords { .. }));
    }
}

#[test]
fn a_function_says_that_it_has_failed() {
    for (body, said) in [
        (
            r#"{"success":false,"error_msg":"no\u0000city"}"#,
            Some(r"no\u{0}city"),
        ),
        (
            r#"{"success":"false","error_msg":{"a":1},"results":[1]}"#,
            Some(r#"{"a":1}"#),
        ),
        (r#"{"success":0}"#, None),
    ] {
        let message = said.map(str::to_owned);
        assert_eq!(
            answers(body, 1, BatchFormat::Redshift).err(),
            Some(BatchProblem::Unsuccessful { message })
        );
    }
}

#[test]
fn other_responses_are_failures() {
    let depth = "[".repeat(100_000);
    for body in [
        "", "null", "1", "{}", "[1,", "[1]]", "[1] 2", "\"\"", "\"[1\"", "<html>", &depth,
    ] {
        for format in [BatchFormat::Array, BatchFormat::Redshift] {
            let problem = answers(body, 1, format).unwrap_err();
            assert!(matches!(problem, BatchProblem::Shape { .. }), "{body}");
        }
    }
    let invalid = split(&Bytes::from_static(b"[\"\xff\"]"), 1, BatchFormat::Array);
    assert!(matches!(invalid, Err(BatchProblem::Shape { .. })));
    let deep = format!("[{}1{}]", "[".repeat(100_000), "]".repeat(100_000));
    assert!(answers(&deep, 1, BatchFormat::Array).is_ok());
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,5})?(e[+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        Just(r#""\u00e9\ud83d\ude00\\""#.to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[ {}]", all.join(" ,"))),
            prop::collection::vec(inner, 0..4).prop_map(|all| {
                let fields: Vec<String> = all.iter().map(|json| format!("\"k\": {json}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    /// A function that echoes answers each row with its payload.
    #[test]
    fn each_row_has_its_own_answer(rows in prop::collection::vec(json(), 1..20)) {
        let given: Vec<Option<&str>> = rows.iter().map(|row| Some(row.as_str())).collect();
        let array = payload_of(BatchFormat::Array, &given, &[]);
        prop_assert_eq!(texts(&array, rows.len(), BatchFormat::Array), rows.clone());
        let answer = format!("{{\"success\":true,\"results\":{array}}}");
        prop_assert_eq!(texts(&answer, rows.len(), BatchFormat::Redshift), rows);
    }

    #[test]
    fn no_bytes_are_too_much(body in prop::collection::vec(any::<u8>(), 0..200), rows in 1..5usize) {
        let body = Bytes::from(body);
        let _ = split(&body, rows, BatchFormat::Array);
        let _ = split(&body, rows, BatchFormat::Redshift);
    }
}
