"""What stands between a policy's wishes and the guests, whatever the policy.

    limits        the numbers, each with where it is from
    state         what is remembered of each guest from one round to the next
    stalls        which guests do not follow, and since when: the view with that in it
    bounds, back_off, see_saw, dead_band, steps
                  one rule each: may change what is proposed for one guest, and says why
    grants        who gets what the host has, once it has it
    decide        ``guard``: all of them in order
    decision      what comes out: orders, and the reasons for people
    error_budget  when a policy that fails is set aside

Pure: a view, a plan, a state and limits come in; orders, explanations and a new state go out.
"""
