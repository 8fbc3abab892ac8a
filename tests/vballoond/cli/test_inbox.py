from vballoond.cli.inbox import Failed, Inbox, Message


def test_what_a_source_says_comes_in_order() -> None:
    inbox = Inbox()
    inbox.follow("numbers", iter(range(3)))
    assert [inbox.take(60) for _ in range(3)] == [Message("numbers", number) for number in range(3)]
    assert inbox.take(0) is None


def test_an_error_comes_behind_what_was_said() -> None:
    error = ValueError("no more")

    def numbers():
        yield 1
        raise error

    inbox = Inbox()
    inbox.follow("numbers", numbers())
    assert [inbox.take(60), inbox.take(60)] == [Message("numbers", 1), Failed("numbers", error)]


def test_a_question_is_answered_once() -> None:
    inbox = Inbox()
    inbox.ask("question", lambda: 42)
    assert inbox.take(60) == Message("question", 42)
    assert inbox.take(0) is None
