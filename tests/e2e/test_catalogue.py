"""The table of functions: how many requests are in flight, interrupts, permissions. tests/regress/sql/functions.sql has the rest."""

import time

import psycopg
import pytest

import scripted
import tables
from background import error_within_2_s, pid_of, running_until
from tables import failure, keys

ALL = "SELECT count(*) FROM aws_lambda.functions"


def functions_are(name):
    scripted.control("POST", f"functions?are={name}")


def asked():
    return scripted.counter("lists"), scripted.counter("configurations")


@pytest.mark.parametrize(
    ("functions", "query", "requests"),
    [
        ("hang", ALL, 1),
        ("hang", f"{ALL} WHERE function_name = 'alpha'", 1),
        ("hang", f"{ALL} WHERE function_name IN ('a', 'b', 'c')", 3),
        ("sleep-10-endless", ALL, 20),
    ],
)
def test_cancel(session, connect, endpoint, functions, query, requests):
    session.execute("SET aws_lambda.request_timeout_ms = 900000")
    other = connect()
    functions_are(functions)
    is_waiting = lambda: scripted.wait_until(lambda: sum(asked()) >= requests)
    with running_until(session, is_waiting, session.execute, query) as statement:
        since = time.monotonic()
        other.execute("SELECT pg_cancel_backend(%s)", [pid_of(session)])
        assert error_within_2_s(statement, since).sqlstate == "57014"
    before = asked()
    time.sleep(0.3)
    assert asked() == before
    functions_are("few")
    assert session.execute(ALL).fetchone() == (3,)


def test_many_are_asked_for_at_once(session, endpoint):
    functions_are("sleep-300-many-40")
    names = [f"f{number:06}" for number in range(40)]
    found = session.execute("SELECT function_name FROM aws_lambda.functions WHERE function_name = ANY (%s)", [names]).fetchall()
    assert [name for (name,) in found] == names
    assert (asked(), scripted.counter("most_in_flight")) == ((0, 40), 40)


def test_a_join_asks_for_many_at_once(session, endpoint):
    session.execute("CREATE TEMPORARY TABLE wanted AS SELECT format('f%s', lpad(n::text, 6, '0')) AS name FROM generate_series(0, 19) AS n")
    session.execute("ANALYZE wanted")
    functions_are("sleep-300-many-40")
    query = "SELECT w.name, f.state FROM wanted w JOIN aws_lambda.functions f ON f.function_name = w.name"
    found = session.execute(query).fetchall()
    assert sorted(found) == [(f"f{number:06}", "Active") for number in range(20)]
    assert asked() == (0, 20)
    assert scripted.counter("most_in_flight") > 10


def test_max_concurrency_of_the_table(session, endpoint):
    session.execute("CREATE FOREIGN TABLE slow (function_name text) SERVER aws_lambda OPTIONS (object 'functions', max_concurrency '3')")
    functions_are("sleep-50-many-10")
    session.execute("SELECT * FROM slow WHERE function_name = ANY (%s)", [[f"f{number:06}" for number in range(10)]])
    assert scripted.counter("most_in_flight") == 3
    session.execute("DROP FOREIGN TABLE slow")


def test_the_states_of_listed_functions(session, endpoint):
    """The list leaves them out, so each function is asked for, many at once, and no more than rows are wanted."""
    functions_are("sleep-100-many-120")
    states = session.execute("SELECT state, count(*) FROM aws_lambda.functions GROUP BY 1").fetchall()
    assert (states, asked()) == ([("Active", 120)], (3, 120))
    assert scripted.counter("most_in_flight") > 10
    functions_are("many-120")
    assert len(session.execute("SELECT function_name, state FROM aws_lambda.functions LIMIT 3").fetchall()) == 3
    assert asked() == (1, 3)
    functions_are("many-120")
    session.execute("SELECT function_name FROM aws_lambda.functions")
    assert asked() == (3, 0)


def test_a_function_that_is_deleted_while_it_is_listed(session, endpoint):
    functions_are("deleted")
    states = session.execute("SELECT function_name, state FROM aws_lambda.functions").fetchall()
    assert states == [("alpha", "Active"), ("gone", None), ("beta", "Active")]


def test_no_progress_of_invocations_is_reported(session, endpoint):
    session.execute("SET aws_lambda.progress_interval = '1s'")
    notices = []
    session.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    functions_are("sleep-1500-few")
    assert session.execute(ALL).fetchone() == (3,)
    assert notices == []


def test_a_prepared_statement(session, endpoint):
    session.execute("SET plan_cache_mode = force_generic_plan")
    session.execute("PREPARE one (text) AS SELECT version FROM aws_lambda.functions WHERE function_name = $1 AND qualifier = $2")
    for name, version in (("alpha", "3"), ("omega", None), ("beta", "3")):
        found = session.execute(f"EXECUTE one ('{name}', 'prod')").fetchone()
        assert found == (version and (version,))
    assert asked() == (0, 3)


def test_a_collation_in_which_other_names_are_equal(session, endpoint):
    """The clause lets other names pass than the one that it has, so all are listed."""
    try:
        session.execute("CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("needs ICU")
    session.execute("CREATE FOREIGN TABLE any_case (function_name text COLLATE any_case) SERVER aws_lambda OPTIONS (object 'functions')")
    assert session.execute("SELECT * FROM any_case WHERE function_name = 'ALPHA'").fetchall() == [("alpha",)]
    assert asked() == (1, 0)
    session.execute("DROP FOREIGN TABLE any_case")
    session.execute("DROP COLLATION any_case")


def test_keys_of_the_role_that_asks(session, endpoint):
    """Not of another role that has asked before."""
    session.execute("CREATE ROLE other_asker")
    session.execute("GRANT USAGE ON SCHEMA aws_lambda TO other_asker")
    session.execute("GRANT SELECT ON aws_lambda.functions TO other_asker")
    tables.create_mapping(session, "aws_lambda", "other_asker", **scripted.OTHER_KEYS)
    session.execute(ALL)
    session.execute("SET ROLE other_asker")
    session.execute(f"{ALL} WHERE function_name = 'alpha'")
    session.execute("RESET ROLE")
    assert [row[-1] for row in scripted.rows("questions")] == ["AKIDEXAMPLE", "AKIDOTHER"]
    session.execute("DROP USER MAPPING FOR other_asker SERVER aws_lambda")
    session.execute("DROP OWNED BY other_asker")
    session.execute("DROP ROLE other_asker")


def test_missing_permissions_are_named(session, emulator):
    user = emulator.create_user_with_key("asker")
    tables.create_emulator_table(session, "emulated", keys(*user))
    session.execute("CREATE FOREIGN TABLE asked (function_name text, memory_size int) SERVER emulated OPTIONS (object 'functions')")
    emulator.create_function("asked-for", "def handler(event, context):\n    return event\n")
    for clause, action in (("true", "ListFunctions"), ("function_name = 'asked-for'", "GetFunctionConfiguration")):
        query = f"SELECT memory_size FROM asked WHERE {clause}"
        error = failure(session.execute, query)
        assert error.sqlstate == "42501"
        assert error.diag.message_hint == f"Allow the action lambda:{action} to the credentials in use."
        emulator.put_user_policy("asker", [f"lambda:{action}"], ["*"])
        assert (128,) in session.execute(query).fetchall()
    emulator.client("lambda").delete_function(FunctionName="asked-for")
    session.execute("DROP SERVER emulated CASCADE")
