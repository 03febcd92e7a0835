//! Tests of requests.

use super::*;

fn inputs(function_name: &str) -> Inputs {
    Inputs {
        function_name: Some(function_name.into()),
        ..Inputs::default()
    }
}

/// The error of inputs that make no request.
fn refusal(inputs: Inputs) -> Error {
    match InvokeRequest::new(inputs) {
        Err(Error::Of(_, error)) => *error,
        Err(error) => error,
        Ok(_) => Error::Unexpected("a request could be made"),
    }
}

#[test]
fn defaults() {
    let request = InvokeRequest::new(inputs("f")).unwrap();
    assert_eq!(
        request.head.invocation_type,
        InvocationType::RequestResponse
    );
    assert_eq!(request.head.log_type, LogType::None);
    assert_eq!(request.payload, None);
    assert_eq!(request.head.region, None);
}

#[test]
fn a_name_is_required() {
    assert!(matches!(
        InvokeRequest::new(Inputs::default()),
        Err(Error::Request(RequestError::NoFunctionName))
    ));
}

#[test]
fn region_and_qualifier_come_from_either_side_and_must_agree() {
    let arn = "arn:aws:lambda:us-west-2:123456789012:function:f:v1";
    let request = InvokeRequest::new(inputs(arn)).unwrap();
    assert_eq!(
        request.head.function_name,
        "arn:aws:lambda:us-west-2:123456789012:function:f"
    );
    assert_eq!(request.head.region.as_deref(), Some("us-west-2"));
    assert_eq!(request.head.qualifier.as_deref(), Some("v1"));

    let same = Inputs {
        region: Some("us-west-2".into()),
        qualifier: Some("v1".into()),
        ..inputs(arn)
    };
    assert!(InvokeRequest::new(same).is_ok());
    let other = Inputs {
        region: Some("eu-west-1".into()),
        ..inputs(arn)
    };
    assert!(matches!(
        refusal(other),
        Error::Request(RequestError::Contradiction { what: "region", .. })
    ));
    let other = Inputs {
        qualifier: Some("v2".into()),
        ..inputs(arn)
    };
    assert!(matches!(
        refusal(other),
        Error::Request(RequestError::Contradiction {
            what: "qualifier",
            ..
        })
    ));
}

#[test]
fn a_row_literal_moves_the_inputs_behind_it() {
    let call = |name: &str, others: [Option<&str>; 3]| {
        let [region, invocation_type, log_type] = others.map(|other| other.map(Arc::from));
        let given = Inputs {
            region,
            invocation_type,
            log_type,
            ..inputs(name)
        };
        InvokeRequest::new(given.with_row_literal())
    };
    let request = call("(f,us-west-2)", [None, Some("DryRun"), Some("Tail")]).unwrap();
    assert_eq!(request.head.function_name, "f");
    assert_eq!(request.head.region.as_deref(), Some("us-west-2"));
    assert_eq!(request.head.invocation_type, InvocationType::DryRun);
    assert_eq!(request.head.log_type, LogType::Tail);

    let moved = [Some("Event"), Some("Tail"), Some("{}")];
    let request = call("(f,)", moved).unwrap();
    assert_eq!(request.head.region, None);
    assert_eq!(request.head.invocation_type, InvocationType::Event);
    assert_eq!(request.head.log_type, LogType::Tail);
    // The default of the fourth argument is not what was given for the third.
    let request = call(
        "(f,)",
        [Some("Event"), Some("RequestResponse"), Some("None")],
    )
    .unwrap();
    assert_eq!(request.head.log_type, LogType::None);

    for name in [
        "(f",
        "(f)",
        "(f,us-west-2,x)",
        "(,us-west-2)",
        "f,us-west-2)",
        "()",
    ] {
        assert!(call(name, [None; 3]).is_err(), "{name}");
    }
}

#[test]
fn spelling_of_types_matters() {
    assert!(InvocationType::parse("Event").is_ok());
    assert!(InvocationType::parse("event").is_err());
    assert!(LogType::parse("tail").is_err());
}

#[test]
fn a_payload_has_the_limit_of_its_type_or_of_its_table() {
    let given = |bytes: usize, invocation_type: &str, max_payload| Inputs {
        payload: Some(vec![b' '; bytes].into()),
        invocation_type: Some(invocation_type.into()),
        max_payload,
        ..inputs("f")
    };
    let request = |bytes, invocation_type: &str, most| {
        InvokeRequest::new(given(bytes, invocation_type, most))
    };
    for (invocation_type, most) in [
        ("RequestResponse", 6_291_456),
        ("DryRun", 6_291_456),
        ("Event", 1_048_576),
    ] {
        assert!(request(most, invocation_type, None).is_ok());
        assert!(matches!(
            refusal(given(most + 1, invocation_type, None)),
            Error::Request(RequestError::PayloadTooLarge { bytes, limit, .. }) if limit == most && bytes == most + 1
        ));
        assert!(request(most + 1, invocation_type, Some(most + 1)).is_ok());
        assert!(request(11, invocation_type, Some(10)).is_err());
    }
    let not_here = Inputs {
        too_large: Some(7 << 20),
        ..inputs("f")
    };
    assert!(matches!(
        refusal(not_here),
        Error::Request(RequestError::PayloadTooLarge { .. })
    ));
}

#[test]
fn client_context_has_a_limit() {
    let context = |length: usize| Inputs {
        context: Some("x".repeat(length)),
        ..inputs("f")
    };
    // 2,685 bytes are 3,580 of base64; one group more is 3,584, over the limit of 3,583.
    assert!(InvokeRequest::new(context(2685)).is_ok());
    assert!(matches!(
        refusal(context(2686)),
        Error::Request(RequestError::ContextTooLong { length: 3584, .. })
    ));
}

#[test]
fn rows_that_differ_in_the_payload_share_a_head() {
    let mut checker = Checker::default();
    let mut make = |name: &str, payload: &'static str| {
        let given = Inputs {
            payload: Some(payload.into()),
            ..inputs(name)
        };
        checker.request(given.into()).unwrap()
    };
    let (first, second, other) = (make("f", "1"), make("f", "2"), make("g", "3"));
    assert!(Arc::ptr_eq(&first.head, &second.head));
    assert_eq!(first.payload.as_deref(), Some(&b"1"[..]));
    assert_eq!(second.payload.as_deref(), Some(&b"2"[..]));
    assert_eq!(other.head.function_name, "g");
    assert!(first.may_share(&second) && !first.may_share(&other));
}
