from dataclasses import fields

import pytest

from guest_driver.balloon_compaction.kconfig import Kconfig, KconfigError, configure


def test_in_2012_it_is_off_unless_asked_for():
    """S24: a bool without a default."""
    assert not configure("2012").balloon_compaction


def test_in_2012_it_switches_compaction_on_with_it():
    """S24: ``select COMPACTION``, which is what R9 objects to."""
    kconfig = configure("2012", compaction=False, balloon_compaction=True)
    assert kconfig == Kconfig("2012", compaction=True, migration=True, balloon=True, balloon_compaction=True)


@pytest.mark.parametrize("generation", ["2012", "2022", "2026"])
def test_it_depends_on_the_balloon(generation):
    """S24."""
    with pytest.raises(KconfigError, match="depends on the balloon"):
        configure(generation, balloon=False, balloon_compaction=True)


def test_in_2022_it_depends_on_compaction_and_does_not_switch_it_on():
    """R9."""
    with pytest.raises(KconfigError, match="depends on COMPACTION"):
        configure("2022", compaction=False, balloon_compaction=True)
    assert not configure("2022", compaction=False).balloon_compaction


def test_nothing_depends_on_transparent_huge_pages():
    """R10: was tried, and dropped: there is no such option to answer."""
    assert {field.name for field in fields(Kconfig)} == {
        "generation",
        "compaction",
        "migration",
        "balloon",
        "balloon_compaction",
    }


@pytest.mark.parametrize("generation", ["2022", "2026"])
def test_later_it_is_on_by_default_where_it_can_be(generation):
    """R11."""
    assert configure(generation).balloon_compaction
    assert not configure(generation, balloon=False).balloon_compaction
    assert not configure(generation, balloon_compaction=False).balloon_compaction


def test_in_2026_migration_is_enough():
    assert configure("2026", compaction=False, migration=True).balloon_compaction
    assert not configure("2026", compaction=False).balloon_compaction
    with pytest.raises(KconfigError, match="depends on MIGRATION"):
        configure("2026", compaction=False, balloon_compaction=True)


def test_compaction_without_migration_is_no_kernel():
    with pytest.raises(KconfigError, match="COMPACTION selects MIGRATION"):
        configure("2022", migration=False)


def test_a_configuration_of_2012_that_ignores_select_is_no_kernel():
    with pytest.raises(KconfigError, match="selects COMPACTION"):
        Kconfig("2012", compaction=False, migration=False, balloon=True, balloon_compaction=True)
