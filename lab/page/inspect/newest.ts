/** Work that only the newest question is worth doing for: while one is under way, of all later ones the last alone is kept. */

/**
 * @param work answers one question
 * @param done is told every answer that came, in order of the questions
 * @param failed is told of a question that could not be answered
 */
export function newestOnly<Question, Answer>(
  work: (question: Question) => Promise<Answer>,
  done: (answer: Answer, question: Question) => void,
  failed: (error: Error, question: Question) => void,
): (question: Question) => void {
  let busy = false;
  let next: { question: Question } | null = null;
  const run = async (question: Question) => {
    busy = true;
    try {
      done(await work(question), question);
    } catch (error) {
      failed(error as Error, question);
    }
    busy = false;
    const following = next;
    next = null;
    if (following) run(following.question);
  };
  return (question) => {
    if (busy) next = { question };
    else run(question);
  };
}
