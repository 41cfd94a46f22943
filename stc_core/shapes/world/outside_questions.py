"""List questions from outside the world of shapes: no clip of it holds an answer to them.

They share no phrasing with the unanswerable questions of the training and none of its word lists
(``NOUNS``, ``VERBS``), so that they measure whether the model learned to refuse, not whether it
memorized those questions.
"""

from __future__ import annotations

OUTSIDE: dict[str, tuple[str, ...]] = {
    # Words the tokenizer does not know stand for most of what is asked.
    "unknown words": (
        "who won the match?",
        "is the traffic light on?",
        "what age did the singer reach?",
        "what language are they speaking?",
        "which country is this?",
        "did anybody pay the bill?",
        "is it safe to swim here?",
        "how much did the ticket cost?",
        "what is written on the poster?",
        "do the children look happy today?",
        "has the meeting already started?",
        "does the soup need more salt?",
        "what time does the museum close?",
        "who directed the movie?",
        "could you climb the tower?",
        "which airline operates this flight?",
        "is anyone hurt?",
        "what breed is the puppy?",
        "has the plane landed safely?",
        "can you hear the waterfall?",
        "what should I bring to the party?",
        "which ingredient was added last?",
        "did the cyclist break the record?",
        "is the shop still busy?",
        "whose bag was stolen?",
        "why did they argue?",
        "what instrument is your brother practicing?",
        "how difficult did you find the exam?",
        "how do I get to the airport?",
        "what is the capital of France?",
    ),
    # Words the model knows, at least half of each question, in a sense it does not know.
    "known words in another sense": (
        "how are you?",
        "who are you?",
        "what do you do?",
        "where are you?",
        "why is there a circle?",
        "who came first?",
        "do you have a heart?",
        "who has a heart of stone?",
        "which star is the most famous?",
        "how many years does a star shine?",
        "how much do you pay for a ring?",
        "is it a golden ring you have?",
        "who gave the ring to you?",
        "what does the red cross do in a war?",
        "where is the square in this town?",
        "what is the square of seven?",
        "what is eight after two?",
        "does the white object taste sweet or sour?",
        "is that a real diamond?",
        "what happens in the circle of friends?",
        "how does the heart feel?",
        "do you see the blue whale?",
        "where is the middle of nowhere?",
        "is the green one ripe?",
        "the egg or the chicken, which came first?",
        "is the yellow one poisonous?",
        "what is there to see in Paris?",
        "which way is north?",
        "how long is one moment?",
        "who hides behind the circle?",
    ),
}
