// A camera's frame as Python gives it: numbers in single or double precision, in any order in memory.
#pragma once

#include "arguments.hpp"

namespace aisle {

// An array [count, second, third] of a frame, with as many dimensions as are given (0: not there).
class FrameNumbers {
public:
    FrameNumbers(PyObject* object, const char* name, int64_t second, int64_t third) {
        if (PyObject_GetBuffer(object, &buffer_, PyBUF_FORMAT | PyBUF_STRIDES) < 0) throw PythonError{};
        const char format = buffer_.format && buffer_.format[0] && !buffer_.format[1] ? buffer_.format[0] : '?';
        const int dimensions = 1 + (second > 0) + (third > 0);
        single_ = format == 'f';
        if (buffer_.ndim == dimensions && (single_ || format == 'd') && (dimensions < 2 || buffer_.shape[1] == second) &&
            (dimensions < 3 || buffer_.shape[2] == third))
            return;
        PyBuffer_Release(&buffer_);
        PyErr_Format(PyExc_ValueError, "%s of a frame have another shape or type than expected (float32 or float64)", name);
        throw PythonError{};
    }
    FrameNumbers(const FrameNumbers&) = delete;
    FrameNumbers& operator=(const FrameNumbers&) = delete;
    ~FrameNumbers() { PyBuffer_Release(&buffer_); }

    int64_t count() const { return buffer_.shape[0]; }

    double at(int64_t first, int64_t second = 0, int64_t third = 0) const {
        const char* from = static_cast<const char*>(buffer_.buf) + first * buffer_.strides[0];
        if (buffer_.ndim > 1) from += second * buffer_.strides[1];
        if (buffer_.ndim > 2) from += third * buffer_.strides[2];
        return single_ ? static_cast<double>(read<float>(from)) : read<double>(from);
    }

private:
    template <typename T>
    static T read(const char* from) {
        T value;
        std::memcpy(&value, from, sizeof(T));
        return value;
    }

    Py_buffer buffer_{};
    bool single_ = false;
};

// A tuple (camera, age s, scale across, scale down, boxes [K, 4], scores [K], keypoints [K, 17, 3] or None): what boxes and keypoints are to
// be multiplied by, to be in pixels of the calibration's image size.
class Frame {
public:
    static constexpr int64_t kBox = 4, kKeypoints = 17, kCoordinates = 3;

    explicit Frame(PyObject* tuple) {
        PyObject *boxes = nullptr, *scores = nullptr, *keypoints = nullptr;
        long long number = 0;
        if (!PyArg_ParseTuple(tuple, "LdddOOO", &number, &age, &across_, &down_, &boxes, &scores, &keypoints)) throw PythonError{};
        camera = number;
        boxes_ = std::make_unique<FrameNumbers>(boxes, "boxes", kBox, 0);
        scores_ = std::make_unique<FrameNumbers>(scores, "scores", 0, 0);
        if (keypoints != Py_None) keypoints_ = std::make_unique<FrameNumbers>(keypoints, "keypoints", kKeypoints, kCoordinates);
        if (scores_->count() == count() && (!keypoints_ || keypoints_->count() == count())) return;
        PyErr_SetString(PyExc_ValueError, "a frame has not as many scores or keypoints as boxes");
        throw PythonError{};
    }

    int64_t count() const { return boxes_->count(); }
    double score(int64_t person) const { return scores_->at(person); }

    void read_box(int64_t person, double* box) const {
        for (int64_t i = 0; i < kBox; ++i) box[i] = boxes_->at(person, i) * (i % 2 ? down_ : across_);
    }

    void read_keypoints(int64_t person, double* keypoints) const {
        const double scales[kCoordinates] = {across_, down_, 1.0};
        for (int64_t k = 0; k < kKeypoints; ++k)
            for (int64_t i = 0; i < kCoordinates; ++i) *keypoints++ = keypoints_ ? keypoints_->at(person, k, i) * scales[i] : 0.0;
    }

    int64_t camera = 0;
    double age = 0.0;

private:
    double across_ = 1.0, down_ = 1.0;
    std::unique_ptr<FrameNumbers> boxes_, scores_, keypoints_;
};

}  // namespace aisle
